"""One partition of the visitor stage: its visitors, its open answers, its clock and what it holds.

Mirrors every change into `Changes`. Visitors and answers are read from the store when they are
needed, so that memory does not grow with the number of shoppers.
"""

import heapq
from collections.abc import Iterator

import msgspec

from core import join
from core.attribution import Windows
from core.intake import Remembered
from core.settings import Settings
from core.visitor_facts import Visitor
from core.watermarks import NEVER_MS, Clock, Merge, clock
from schemas.events import ShopEvent
from schemas.predictions import Prediction
from streams.store import Changes, Store

EVENTS, PREDICTIONS = "events", "predictions"
Input = Prediction | ShopEvent
VISITOR, ANSWER, SEEN, HELD, CLOCK = "visitor", "answer", "seen", "held", "clock"
_MOST_IN_MEMORY = 20_000
_pack = msgspec.msgpack.Encoder().encode
_visitor = msgspec.msgpack.Decoder(Visitor).decode
_clock = msgspec.msgpack.Decoder(tuple[Clock, int]).decode
_prediction = msgspec.json.Decoder(Prediction).decode
_event = msgspec.json.Decoder(ShopEvent).decode


class VisitorPartition:
    """State of one partition; `changes` is where it writes, replaced batch by batch."""

    def __init__(self, number: int, settings: Settings, store: Store) -> None:
        self.number = number
        self.windows: Windows = join.windows_of(settings)
        self.changes = Changes()
        self.clock = clock((EVENTS, PREDICTIONS))
        self.closed_ms = NEVER_MS
        self._store = store
        self._visitors: dict[str, Visitor] = {}
        self._answers: dict[str, Prediction] = {}
        self._touched: set[str] = set()
        self._held: Merge[tuple[str, Input]] = Merge()
        self._held_rows: set[str] = set()
        self._load(settings.duplicate_window_ms)

    def begin(self, changes: Changes) -> None:
        """Starts a batch; lets go of what memory has too much of."""
        self.changes = changes
        for cache in (self._visitors, self._answers):
            if len(cache) > _MOST_IN_MEMORY:
                cache.clear()

    def is_new(self, event: ShopEvent) -> bool:
        """Remembers the event's id; False when it is a repeat."""
        if not self._seen.is_new(event):
            return False
        self.changes.put((self.number, SEEN, event.event_id), b"", event.event_time_ms)
        return True

    def hold(self, record: Input, value: bytes) -> None:
        """Keeps an input until the watermark closes it."""
        if isinstance(record, Prediction):
            if record.prediction_id in self._answers:
                return
            key = f"{PREDICTIONS}/{record.prediction_id}"
            self._answers[record.prediction_id] = record
            self.changes.put((self.number, ANSWER, record.prediction_id), value)
            self._held.put(record.served_at_ms, record.prediction_id, (key, record))
            self.changes.put((self.number, HELD, key), b"", record.served_at_ms)
            return
        key = f"{EVENTS}/{record.event_id}"
        self._held.put(record.event_time_ms, record.event_id, (key, record))
        self.changes.put((self.number, HELD, key), value, record.event_time_ms)

    def advance(self, watermark_ms: int) -> Iterator[tuple[Input | None, join.Output]]:
        """Steps what is closed and states what is due, in event-time order.

        Yields each input with its output, and outputs of closing with None.
        """
        before_ms = self.closed_ms
        self.closed_ms = max(self.closed_ms, watermark_ms)
        for at_ms, (key, record) in self._held.take(self.closed_ms):
            yield from self._close(at_ms - 1)
            self._release(key)
            yield record, self._step(record, max(before_ms, at_ms - 1))
        yield from self._close(self.closed_ms)

    def answer(self, prediction_id: str) -> Prediction:
        """The answer itself, from memory or the store."""
        known = self._answers.get(prediction_id)
        if known is None:
            value = self._store.get((self.number, ANSWER, prediction_id))
            if value is None:
                raise LookupError(f"answer {prediction_id} is open and not stored")
            known = self._answers[prediction_id] = _prediction(value)
        return known

    def forget(self, prediction_id: str) -> None:
        """Lets an answer go for good."""
        self._answers.pop(prediction_id, None)
        self.changes.delete((self.number, ANSWER, prediction_id))

    def finish(self) -> None:
        """Writes down visitors touched, ids forgotten and the clock."""
        for visitor_id in self._touched:
            visitor = self._visitors[visitor_id]
            due_ms = self._due_of.get(visitor_id)
            self.changes.put((self.number, VISITOR, visitor_id), _pack(visitor), due_ms)
        self._touched.clear()
        for event_id in self._seen.forget():
            self.changes.delete((self.number, SEEN, event_id))
        self.changes.put((self.number, CLOCK, ""), _pack((self.clock, self.closed_ms)))

    @property
    def held(self) -> int:
        """How many inputs wait for the watermark."""
        return len(self._held)

    def _step(self, record: Input, closed_ms: int) -> join.Output:
        visitor = self._visitor(record.visitor_id)
        output = join.step(visitor, record, self.windows, closed_ms)
        if isinstance(record, Prediction) and record.prediction_id not in visitor.answers:
            self.forget(record.prediction_id)
        self._touch(record.visitor_id, visitor)
        return output

    def _close(self, until_ms: int) -> Iterator[tuple[None, join.Output]]:
        while self._dues and self._dues[0][0] <= until_ms:
            due_ms, visitor_id = heapq.heappop(self._dues)
            if self._due_of.get(visitor_id) != due_ms:
                continue
            visitor = self._visitor(visitor_id)
            yield None, join.close(visitor, due_ms, self.windows)
            self._touch(visitor_id, visitor)

    def _touch(self, visitor_id: str, visitor: Visitor) -> None:
        self._touched.add(visitor_id)
        due_ms = join.next_due(visitor, self.windows)
        if due_ms is None:
            self._due_of.pop(visitor_id, None)
        elif self._due_of.get(visitor_id) != due_ms:
            self._due_of[visitor_id] = due_ms
            heapq.heappush(self._dues, (due_ms, visitor_id))

    def _visitor(self, visitor_id: str) -> Visitor:
        known = self._visitors.get(visitor_id)
        if known is None:
            value = self._store.get((self.number, VISITOR, visitor_id))
            known = Visitor() if value is None else _visitor(value)
            self._visitors[visitor_id] = known
        return known

    def _release(self, key: str) -> None:
        row = (self.number, HELD, key)
        if key in self._held_rows:
            self._held_rows.discard(key)
            self.changes.delete(row)
        else:
            self.changes.puts.pop(row, None)

    def keep_held(self) -> None:
        """Notes which held inputs the store has after this batch."""
        self._held_rows = {key for key, _ in self._held.held()}

    def _load(self, duplicate_window_ms: int) -> None:
        store, number = self._store, self.number
        if (saved := store.get((number, CLOCK, ""))) is not None:
            self.clock, self.closed_ms = _clock(saved)
        known = ((event_id, at_ms) for at_ms, event_id in store.moments(number, SEEN))
        self._seen = Remembered(duplicate_window_ms, known=known)
        self._dues = store.moments(number, VISITOR)
        self._due_of = {visitor_id: due_ms for due_ms, visitor_id in self._dues}
        for key, value, at_ms in store.rows(number, HELD):
            source, _, record_id = key.partition("/")
            record = self.answer(record_id) if source == PREDICTIONS else _event(value)
            self._held.put(at_ms, record_id, (key, record))
        self.keep_held()
