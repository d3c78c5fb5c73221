"""quixstreams doing the same work: `python -m bench.peers.with_quix decode|keyed|join`.

Per-record functions over a StreamingDataFrame, as its documentation shows; state in RocksDB with
changelog topics; joins by `join_interval`.
"""

from __future__ import annotations

import argparse
from typing import Any

from quixstreams import Application
from quixstreams.models import Deserializer, SerializationContext
from quixstreams.models.serializers.exceptions import IgnoreMessage

from bench.peers.work import (
    GRACE_MS,
    WINDOW_MS,
    Tally,
    facts_of_answer,
    facts_of_event,
    matched,
    options,
)
from schemas import topics

SETTINGS: dict[str, Any] = {
    "commit_interval": 1.0,
    "auto_offset_reset": "earliest",
    "use_changelog_topics": True,
}


class _Facts(Deserializer):  # type: ignore[misc]
    """Decodes, validates and keeps what the join needs; the rest is not passed on."""

    def __init__(self, tally: Tally, of_answers: bool) -> None:
        super().__init__()
        self._tally = tally
        self._of_answers = of_answers

    def __call__(self, value: bytes, ctx: SerializationContext) -> Any:
        del ctx
        if self._of_answers:
            answer = self._tally.answer(value)
            facts = None if answer is None else facts_of_answer(answer)
        else:
            event = self._tally.event(value)
            facts = None if event is None else facts_of_event(event)
        if facts is None:
            raise IgnoreMessage
        return facts


def main() -> None:
    """Builds the application that was asked for and runs it until it is ended."""
    chosen = options()
    guarantee = "at-least-once" if chosen.what == "decode" else "exactly-once"
    app = Application(
        broker_address=chosen.kafka,
        consumer_group=chosen.name,
        state_dir=chosen.folder / "state",
        processing_guarantee=guarantee,
        loglevel="WARNING",
        **SETTINGS,
    )
    {"decode": _decode, "keyed": _keyed, "join": _join}[chosen.what](app, chosen)
    app.run()


def _decode(app: Application, chosen: argparse.Namespace) -> None:
    tally = Tally(chosen)

    def work(value: bytes) -> None:
        tally.event(value)
        tally.check()

    _events(app, chosen).update(work)


def _keyed(app: Application, chosen: argparse.Namespace) -> None:
    tally = Tally(chosen)

    def count(_event: Any, state: Any) -> None:
        state.set("count", state.get("count", 0) + 1)

    events = _events(app, chosen).apply(tally.event)
    events.filter(lambda event: event is not None).update(count, stateful=True)


def _join(app: Application, chosen: argparse.Namespace) -> None:
    tally = Tally(chosen)

    def moment(value: Any, _headers: Any, _timestamp: float, _kind: Any) -> int:
        return int(value["at_ms"])

    answers = app.topic(
        topics.PREDICTIONS.full_name(chosen.prefix),
        value_deserializer=_Facts(tally, True),
        timestamp_extractor=moment,
    )
    events = app.topic(
        topics.EVENTS.full_name(chosen.prefix),
        value_deserializer=_Facts(tally, False),
        timestamp_extractor=moment,
    )
    joined = app.dataframe(answers).join_interval(
        app.dataframe(events),
        how="inner",
        on_merge=matched,
        grace_ms=GRACE_MS,
        forward_ms=WINDOW_MS,
    )
    found = joined.filter(lambda outcome: outcome is not None)
    found.to_topic(app.topic(chosen.name + ".out", value_serializer="json"))


def _events(app: Application, chosen: argparse.Namespace) -> Any:
    name = topics.EVENTS.full_name(chosen.prefix)
    return app.dataframe(app.topic(name, value_deserializer="bytes"))


if __name__ == "__main__":
    main()
