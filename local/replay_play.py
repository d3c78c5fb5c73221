"""Sends what happened, credits the answers that had been shown, and judges every answer.

Knows the order within a barrier and no Kafka; waits for nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, MutableMapping, Sequence

import msgspec

from core.replay_judge import SHOWN, Judge
from core.replay_plan import SHOWN_AFTER_MS, Ask, Broken, Entry, Happened, LeftOut, Offered
from core.replay_tally import Tally
from core.report import Figures
from local.replay_wire import Answer, Sender
from schemas.events import EventItem, ItemEvent, ItemListViewed, PurchaseMade, ShopEvent
from schemas.ids import derived_id

Answers = MutableMapping[str, dict[str, Answer]]


class Player:
    """Sends entries in order and keeps the figures of the answers they judge."""

    def __init__(self, sender: Sender, surfaces: Sequence[str], window_ms: int) -> None:
        self.figures = Figures(surfaces)
        self.tally = Tally()
        self.exclusions: dict[str, int] = {}
        self.source_lines = 0
        self._sender = sender
        self._judge = Judge(window_ms)

    def play(self, entries: Iterable[Entry], asks: Iterable[Ask], answers: Answers) -> None:
        """Sends a barrier's entries, the lists of answered asks being seen in between.

        Takes the answers of these asks out of `answers`.
        """
        waiting = deque(asks)
        for entry in entries:
            while waiting and waiting[0].as_of_ms < entry.at_ms:
                self._show(waiting.popleft(), answers)
            self.send(entry)

    def _show(self, ask: Ask, answers: Answers) -> None:
        """Opens an answered request and sends that its lists were seen."""
        self._judge.ask(ask)
        for surface, request_id in ask.request_ids.items():
            given = answers.pop(request_id, {})
            for policy, answer in given.items():
                self._judge.answer(request_id, policy, answer.item_ids, answer.prediction_id)
            served = given.get(SHOWN)
            if served is None or not served.slots:
                continue
            self._sender.event(
                ItemListViewed(
                    event_id=derived_id("impression", served.prediction_id),
                    event_time_ms=ask.as_of_ms + SHOWN_AFTER_MS,
                    visitor_id=ask.visitor_id,
                    session_id=ask.session_id,
                    surface=surface,
                    prediction_id=served.prediction_id,
                    request_id=request_id,
                    items=[EventItem(item_id=item_id) for item_id in served.item_ids],
                )
            )

    def send(self, entry: Entry) -> None:
        """Sends one entry; a purchase names the answers that had shown its items."""
        match entry:
            case Happened(event=event, raw=raw):
                if isinstance(event, ItemEvent):
                    self.source_lines += sum(item.source_id is not None for item in event.items)
                self._send_event(event, raw)
            case Broken():
                self.source_lines += source_lines(entry.raw)
                self._sender.broken(entry)
            case Offered():
                self._sender.item(entry)
            case LeftOut(rule=rule, lines=lines):
                self.exclusions[rule] = self.exclusions.get(rule, 0) + lines

    def _send_event(self, event: ShopEvent, raw: bytes | None) -> None:
        if not isinstance(event, PurchaseMade):
            self._sender.event(event, raw)
            return
        shown = self._judge.shown(event.visitor_id, event.session_id, event.event_time_ms)
        credited = credit(event, shown)
        self._sender.event(credited, raw if credited is event else None)
        self._judge.purchase(
            event.visitor_id,
            event.session_id,
            event.event_time_ms,
            [item.item_id for item in event.items],
        )

    def judge(self, watermark_ms: int) -> None:
        """Judges the requests whose window has passed."""
        closed = self._judge.close(watermark_ms)
        self.figures.add(closed)
        self.tally.add(closed)


def credit(event: PurchaseMade, shown: dict[str, str]) -> PurchaseMade:
    """The purchase with the prediction that showed each item; itself when nothing was shown."""
    if not any(item.item_id in shown for item in event.items):
        return event
    items = [
        msgspec.structs.replace(item, prediction_id=shown[item.item_id])
        if item.item_id in shown
        else item
        for item in event.items
    ]
    return msgspec.structs.replace(event, items=items)


class _SourcedItem(msgspec.Struct):
    source_id: str | None = None


class _Sourced(msgspec.Struct):
    items: list[_SourcedItem] = []


_sourced = msgspec.json.Decoder(_Sourced)


def source_lines(raw: bytes) -> int:
    """How many source lines a broken record names; none when it cannot be read at all."""
    try:
        return sum(item.source_id is not None for item in _sourced.decode(raw).items)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return 0
