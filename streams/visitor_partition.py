"""One partition of the visitor stage: its visitors, its open answers, its clock and what it holds.

Works in memory and writes down what changed when it is asked to (`checkpoint`). Visitors and
answers that nobody touched for long are in the store alone, so that memory does not grow with the
number of shoppers.
"""

import heapq
from collections.abc import Callable, Iterator
from itertools import chain

import msgspec

from core import join
from core.attribution import Windows
from core.label_plan import windows_of
from core.running import RunningTotals
from core.settings import Settings
from core.traffic_tally import TrafficTally, keeps_pace
from core.verdict import LEARNED_POLICY
from core.visitor_facts import Visitor
from core.visitor_links import note_consent, take_over
from core.watermarks import NEVER_MS, Clock, Mark, Merge, clock
from schemas.codec import encode
from schemas.events import PurchaseMade, ShopEvent
from schemas.outcomes import Running
from schemas.predictions import SERVED_ARMS, Prediction
from streams.answer_rows import AnswerRows
from streams.held_rows import EVENTS, PREDICTIONS, Input, Waiting, packed, place_of, unpacked
from streams.people_rows import PeopleRows
from streams.seen_rows import ORDERS, SeenRows
from streams.store import Changes, Store
from streams.visitor_rows import VISITOR, VisitorRows

Say = Callable[["VisitorPartition", Input | None, join.Output], None]
Tell = Callable[[int, bytes], None]
HELD, CLOCK, RUNNING, TRAFFIC = "held", "clock", "running", "traffic"
_BYTES_OF_ONE = 4_000  # about what a visitor or an answer of ten slots takes in memory
_pack = msgspec.msgpack.Encoder().encode
_clock = msgspec.msgpack.Decoder(tuple[Clock, int]).decode
_tally = msgspec.msgpack.Decoder(TrafficTally).decode
_running = msgspec.msgpack.Decoder(list[Running]).decode


class VisitorPartition:
    """State of one partition; one thread."""

    def __init__(self, number: int, settings: Settings, store: Store, say: Say, tell: Tell) -> None:
        self.number = number
        self.windows: Windows = windows_of(settings)
        self.clock = clock((EVENTS, PREDICTIONS))
        self.closed_ms = NEVER_MS
        self._store = store
        self._say, self._tell = say, tell
        self._traffic = TrafficTally()
        self._burst, self._task = settings.burst_events, settings.task
        self._counted_surface = settings.surface_names[0]
        most = settings.streams_memory_mb * 1_000_000 // (2 * _BYTES_OF_ONE)
        self._dues = store.moments(number, VISITOR)
        self._due_of = {visitor_id: due_ms for due_ms, visitor_id in self._dues}
        self._visitors = VisitorRows(number, store, most, self._due_of)
        self._answers = AnswerRows(number, store, most)
        self.answer, self.forget = self._answers.get, self._answers.forget
        self.people = PeopleRows(number, store)
        self._held: Merge[Input] = Merge()
        self._after: list[tuple[int, Input]] = []
        self._ahead = {EVENTS: NEVER_MS, PREDICTIONS: NEVER_MS}
        self._load(settings.duplicate_window_ms)
        totals = _running(store.get((number, RUNNING, "")) or b"\x90")
        self.running = RunningTotals(settings.task, settings.metric_window_ms, number, totals)

    def mark(self, source: str, mark: Mark) -> Mark | None:
        """Notes a barrier of one source; returns what both have passed, if that is new."""
        began = self.clock.run_id
        passed = self.clock.mark(source, mark)
        if self.clock.run_id not in ("", began):
            self.closed_ms = NEVER_MS  # another run: its event time begins anew
            self._traffic = TrafficTally(refusals=self._traffic.refusals)
        if self.clock.by_barriers:
            self._ahead[source] = mark.event_time_ms
        else:
            self._ahead = dict.fromkeys(self._ahead, NEVER_MS)
        return passed

    def hold(self, source: str, at_ms: int, record_id: str, record: Input) -> None:
        """Keeps an input until the watermark closes it.

        One that came after the barrier of its own topic which should have closed it is taken when
        that barrier has passed on both, so that how the topics interleave changes nothing.
        """
        ahead_ms = self._ahead[source]
        if at_ms <= ahead_ms and ahead_ms > self.closed_ms:
            self._after.append((ahead_ms, record))
        else:
            self._held.put(at_ms, record_id, record)

    def advance(self, watermark_ms: int) -> None:
        """Steps what is closed and states what is due, in event-time order.

        Says each input that brought something about with its output, and outputs of closing with
        None.
        """
        before_ms = self.closed_ms
        self.closed_ms = closed_ms = max(before_ms, watermark_ms)
        dues = self._dues
        traffic = self._traffic
        for at_ms, record in self._held.take(closed_ms):
            if at_ms >= traffic.turns_ms:
                traffic.turn(at_ms)
            if dues and dues[0][0] < at_ms:
                self._close(at_ms - 1)
            output = self._step(record, max(before_ms, at_ms - 1))
            if output is not join.NOTHING or type(record) is PurchaseMade:
                self._say(self, record, output)
        self._close(closed_ms)
        if self._after:
            self._release()
        seen = traffic.close(self._counted_ms(), self._task, self.number)
        if seen is not None:
            self._tell(self.number, encode(seen))

    def _counted_ms(self) -> int:
        """Where traffic is counted up to: what a run's final mark flushes was no empty time."""
        passed = self.clock.passed
        flushed = passed is not None and passed.final and passed.event_time_ms == self.closed_ms
        return min(self.closed_ms, self._traffic.turns_ms - 1) if flushed else self.closed_ms

    def refused(self, source: str) -> None:
        """Counts a refused record of one source for the hour that the source had reached."""
        newest_ms = self.clock.sources[source].newest_ms
        self._traffic.refuse(max(newest_ms, self._ahead[source], self.closed_ms))

    def bought(self, visitor_id: str) -> dict[str, int]:
        """When a visitor bought what for the first time, as far as event time is closed."""
        return self._visitors.get(visitor_id).bought

    def checkpoint(self, changes: Changes) -> Iterator[None]:
        """Freezes all that changed since the last time, and lets go of what memory has.

        The iterator writes it into `changes` bit by bit; steps may go on meanwhile.
        """
        number = self.number
        parts = [
            rows.checkpoint(changes)
            for rows in (self._visitors, self._answers, self._seen, self._orders)
        ]
        self.people.checkpoint(changes)
        changes.put((number, TRAFFIC, ""), _pack(self._traffic))
        changes.put((number, CLOCK, ""), _pack((self.clock, self.closed_ms)))
        changes.put((number, RUNNING, ""), _pack(self.running.save()))
        waiting = [(NEVER_MS, record) for record in self._held.held()] + self._after
        return chain(*parts, self._write_down(changes, waiting))

    def _write_down(self, changes: Changes, waiting: Waiting) -> Iterator[None]:
        changes.put((self.number, HELD, ""), packed(waiting))
        yield

    @property
    def conflicts(self) -> int:
        """How many repeated event ids came with other content."""
        return self._seen.conflicts

    @property
    def held(self) -> int:
        """How many inputs wait for the watermark."""
        return len(self._held) + len(self._after)

    @property
    def changed(self) -> int:
        """How many rows a checkpoint has to write."""
        return self._visitors.changed + self._answers.changed

    def _step(self, record: Input, closed_ms: int) -> join.Output:
        visitor_id = record.visitor_id
        visitor = self._visitors.get(visitor_id)
        self._visitors.touch(visitor_id)
        if isinstance(record, Prediction):
            return self._step_answer(visitor, record, closed_ms)
        self._traffic.events += 1
        if not keeps_pace(visitor, record.event_time_ms, self._burst):
            self._traffic.burst(visitor_id, visitor.in_minute)
        waiting = len(visitor.waiting)
        if record.consent is not None or record.formerly is not None:
            self._note(visitor, record)
        output = join.step(visitor, record, self.windows, closed_ms)
        if visitor_id not in self._due_of or len(visitor.waiting) != waiting:
            self._schedule(visitor_id, visitor)
        return output

    def _note(self, visitor: Visitor, event: ShopEvent) -> None:
        """Takes in what the event says of its visitor as a whole."""
        note_consent(visitor, event)
        for former in event.formerly.visitor_ids if event.formerly is not None else ():
            before = self._visitors.get(former)
            self._visitors.leave(former)
            take_over(visitor, before, event)
            self._due_of.pop(former, None)
            self._schedule(event.visitor_id, visitor)

    def _step_answer(self, visitor: Visitor, answer: Prediction, closed_ms: int) -> join.Output:
        name = answer.prediction_id
        if name in visitor.answers:
            return join.NOTHING
        output = join.step(visitor, answer, self.windows, closed_ms)
        if name in visitor.answers:
            self._answers.open(answer)
            served = answer.policy == LEARNED_POLICY and answer.arm in SERVED_ARMS
            self._traffic.answers += served and answer.surface == self._counted_surface
            self._schedule(answer.visitor_id, visitor)
        return output

    def _close(self, until_ms: int) -> None:
        dues, due_of = self._dues, self._due_of
        while dues and dues[0][0] <= until_ms:
            due_ms, visitor_id = heapq.heappop(dues)
            if due_of.get(visitor_id) != due_ms:
                continue
            visitor = self._visitors.get(visitor_id)
            self._visitors.touch(visitor_id)
            output = join.close(visitor, due_ms, self.windows)
            if output.verdicts or output.dropped or output.orphans:
                self._say(self, None, output)
            self._schedule(visitor_id, visitor)

    def _schedule(self, visitor_id: str, visitor: Visitor) -> None:
        due_ms = join.next_due(visitor, self.windows)
        if due_ms is None:
            self._due_of.pop(visitor_id, None)
        elif self._due_of.get(visitor_id) != due_ms:
            self._due_of[visitor_id] = due_ms
            heapq.heappush(self._dues, (due_ms, visitor_id))

    def _release(self) -> None:
        late = [record for after_ms, record in self._after if after_ms <= self.closed_ms]
        self._after = [each for each in self._after if each[0] > self.closed_ms]
        for record in late:
            self._held.put(*place_of(record), record)

    def _load(self, duplicate_window_ms: int) -> None:
        store, number = self._store, self.number
        if (saved := store.get((number, CLOCK, ""))) is not None:
            self.clock, self.closed_ms = _clock(saved)
        if (counted := store.get((number, TRAFFIC, ""))) is not None:
            self._traffic = _tally(counted)
        self._seen = SeenRows(number, store, duplicate_window_ms)
        self.is_new = self._seen.is_new
        self._orders = SeenRows(number, store, duplicate_window_ms, ORDERS)
        self.is_new_order = self._orders.is_new_order
        for source, place in self.clock.sources.items():
            if self.clock.by_barriers and place.mark is not None:
                self._ahead[source] = place.mark.event_time_ms
        for after_ms, record in unpacked(store.get((number, HELD, ""))):
            if after_ms == NEVER_MS:
                self._held.put(*place_of(record), record)
            else:
                self._after.append((after_ms, record))
