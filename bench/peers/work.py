"""The work every peer does: decode and validate as the product does, count, and match for the join.

Runs in a peer's own environment: msgspec and the standard library alone.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.event_rules import Limits, check
from schemas import topics
from schemas.codec import Decoder
from schemas.errors import InvalidEvent
from schemas.events import EventWatermark, ItemListViewed, Searched
from schemas.predictions import Prediction

WINDOW_MS = 86_400_000
GRACE_MS = 2 * WINDOW_MS
_LIMITS = Limits(ahead_ms=300_000)
_WITHOUT_FACTS = (ItemListViewed, Searched)
_event = Decoder(topics.EVENTS.record)
_prediction = Decoder(topics.PREDICTIONS.record)


def options() -> argparse.Namespace:
    """What the measurement asks of this process."""
    reader = argparse.ArgumentParser()
    reader.add_argument("what", choices=["decode", "keyed", "join"])
    reader.add_argument("--kafka", required=True)
    reader.add_argument("--prefix", required=True, help="of the topics")
    reader.add_argument("--name", required=True, help="of the group and of the output topic")
    reader.add_argument("--expect", type=int, required=True, help="records there are")
    reader.add_argument("--within-s", type=float, required=True)
    reader.add_argument("--folder", type=Path, required=True, help="for state and the report")
    return reader.parse_args()


class Tally:
    """Counts records from the first one on and reports at the end, or when time is over."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self._expect = chosen.expect
        self._within_s = chosen.within_s
        self._report = chosen.folder / "report.json"
        self._began_s = 0.0
        self.records = 0
        self.counts: dict[str, int] = {}

    def event(self, data: bytes | None) -> Any:
        """The valid event, None for a barrier or what is refused; counted by name."""
        self._seen()
        try:
            event = _event(data)
            if not isinstance(event, EventWatermark):
                check(event, time.time_ns() // 1_000_000, _LIMITS)
        except InvalidEvent as error:
            self._count(error.reason)
            return None
        self._count(type(event).__name__)
        return None if isinstance(event, EventWatermark) else event

    def answer(self, data: bytes | None) -> Prediction | None:
        """The answer, None for a barrier."""
        self._seen()
        record = _prediction(data)
        return record if isinstance(record, Prediction) else None

    def check(self) -> None:
        """Reports and ends the process when everything was seen or time is over."""
        if self.records >= self._expect or self.over:
            self.report()
            os._exit(0)

    @property
    def over(self) -> bool:
        """Whether the time for this run is over."""
        return bool(self._began_s) and time.monotonic() - self._began_s > self._within_s

    def report(self) -> None:
        """Says how many records took how long."""
        said = {
            "records": self.records,
            "seconds": time.monotonic() - self._began_s,
            "counts": self.counts,
            "complete": self.records >= self._expect,
        }
        unfinished = self._report.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(said))
        unfinished.replace(self._report)

    def _seen(self) -> None:
        if not self._began_s:
            self._began_s = time.monotonic()
        self.records += 1

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1


def facts_of_answer(answer: Prediction) -> dict[str, Any]:
    """What the join keeps of an answer."""
    items = [slot.item_id for slot in answer.slots]
    return {"id": answer.prediction_id, "at_ms": answer.served_at_ms, "items": items}


def facts_of_event(event: Any) -> dict[str, Any] | None:
    """What the join keeps of an event; None for lists seen and searches, as in the product."""
    if isinstance(event, _WITHOUT_FACTS):
        return None
    items = [item.item_id for item in getattr(event, "items", ())]
    kind = type(event).__name__
    return {"id": event.event_id, "at_ms": event.event_time_ms, "kind": kind, "items": items}


def matched(answer: dict[str, Any], event: dict[str, Any]) -> dict[str, Any] | None:
    """The outcome an event is for an answer: its items that the answer had shown, if any.

    >>> matched({"id": "p", "items": ["a"]}, {"id": "e", "kind": "ItemViewed", "items": ["b"]})
    """
    shown = [item for item in event["items"] if item in answer["items"]]
    if not shown:
        return None
    return {
        "prediction_id": answer["id"],
        "event_id": event["id"],
        "kind": event["kind"],
        "items": shown,
    }


class VisitorJoin:
    """Both sides of one shopper's join, each kept for twice the window.

    >>> join = VisitorJoin()
    >>> event = {"id": "e", "at_ms": 5, "kind": "ItemViewed", "items": ["a"]}
    >>> list(join.event(event)), len(list(join.answer({"id": "p", "at_ms": 1, "items": ["a"]})))
    ([], 1)
    """

    def __init__(self, kept: tuple[list[Any], list[Any]] | None = None) -> None:
        self.answers, self.events = kept or ([], [])

    def answer(self, answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Keeps an answer; what the events that came before it make of it."""
        self.answers = [a for a in self.answers if a["at_ms"] >= answer["at_ms"] - GRACE_MS]
        self.answers.append(answer)
        for event in self.events:
            yield from self._pair(answer, event)

    def event(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Keeps an event; what it makes of the answers before it."""
        self.events = [e for e in self.events if e["at_ms"] >= event["at_ms"] - GRACE_MS]
        self.events.append(event)
        for answer in self.answers:
            yield from self._pair(answer, event)

    def _pair(self, answer: dict[str, Any], event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if 0 <= event["at_ms"] - answer["at_ms"] <= WINDOW_MS:
            found = matched(answer, event)
            if found is not None:
                yield found
