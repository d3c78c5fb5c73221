"""The visitor stage: validate, drop repeats, join; out come valid events, outcomes and slots.

Wiring alone, decisions are in `core`. Every shopper's every click passes here, so what is the same
for a batch is asked once for it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain

from core import intake, join
from core.intake_rules import Intake
from core.loop_health import Unplaced
from core.pseudonyms import Pepper
from core.settings import Settings
from core.verdict import Verdict, basket_of, judged_of, outcome_of, statement_id
from core.watermarks import NEAR_MS, Mark
from schemas import topics
from schemas.codec import CloudHeaders, Decoder, encode, fitting
from schemas.errors import InvalidEvent
from schemas.events import EventWatermark, ItemListViewed, PurchaseMade, Searched
from schemas.topics import Topic
from schemas.watermarks import Progress, Watermark
from streams.held_rows import EVENTS, PREDICTIONS, Input
from streams.judged_batches import JudgedBatches
from streams.stage import Names, Record, letter, records_read
from streams.store import Changes, Out, Store
from streams.visitor_partition import VisitorPartition

PARTITION_HEADER = "shoploop_partition"
HEARTBEAT_MS = 1_500
Headers = Sequence[tuple[str, bytes | None]]
_WITHOUT_FACTS = (ItemListViewed, Searched)


class VisitorStage:
    """The stage over the partitions this worker owns."""

    process = "streams.visitors"
    short = "streams.visitors"
    inputs: tuple[Topic, ...] = (topics.EVENTS, topics.PREDICTIONS)
    gather_s = 0.004  # partitions come one by one; a transaction costs several times that
    journaled = True

    def __init__(self, settings: Settings, pepper: Pepper | None = None) -> None:
        self._settings = settings
        self._intake = Intake(settings, pepper)
        self._names = names = Names(settings)
        self._valid = names.full(topics.EVENTS_VALID)
        self._outcomes, self._slots = names.full(topics.OUTCOMES), names.full(topics.SLOTS)
        self._take = {
            names.full(topics.EVENTS): self._take_event,
            names.full(topics.PREDICTIONS): self._take_prediction,
        }
        self._event_of = Decoder(topics.EVENTS.record)
        self._prediction_of = Decoder(topics.PREDICTIONS.record)
        self._cloud = CloudHeaders("shoploop/streams")
        self._parts: dict[int, VisitorPartition] = {}
        self._counts: Counter[str] = Counter()
        self._read: Counter[str] = Counter()
        self._changes = Changes()
        self._judged, self._unplaced = JudgedBatches(), Unplaced(settings.task)
        self._said_ms: int | None = None
        self._said_wall_ms, self._wall_ms, self._live = 0, 0, False

    def load(self, store: Store, partitions: list[int]) -> None:
        """Takes up the partitions as the store has them; others are let go."""
        self._parts = {
            number: VisitorPartition(number, self._settings, store, self._say, self._judge)
            for number in partitions
        }

    def step(self, records: list[Record], wall_ms: int, live: bool) -> Changes:
        """Works through a batch of all partitions, then lets their time pass."""
        self._changes = changes = Changes()
        self._wall_ms, self._live = wall_ms, live
        take = self._take
        for record in records:
            take[record.topic()](record)
        for part in self._parts.values():
            self._pass_time(part)
            self._say_sums(part)
            for total in part.running.said(wall_ms, part.bought):
                self._judge(part.number, encode(total))
        for source, rest in self._judged.rest():
            self._send_judged(source, rest)
        self._progress(wall_ms)
        return changes

    def checkpoint(self, changes: Changes) -> Iterator[None]:
        """Freezes all that changed in the partitions since the last one; see `Stage`."""
        return chain(*[part.checkpoint(changes) for part in self._parts.values()])

    def changed(self) -> int:
        """About how many rows the next checkpoint writes."""
        return sum(part.changed for part in self._parts.values())

    def closed(self) -> dict[int, int]:
        """How far event time is closed on each partition."""
        return {number: part.closed_ms for number, part in self._parts.items()}

    def repeat(self, until: dict[int, int]) -> None:
        """Closes what an earlier owner had closed by the wall clock; barriers are in the inputs."""
        self._changes = Changes()
        for part in self._parts.values():
            if not part.clock.by_barriers:
                part.advance(until.get(part.number, -1))
        self._judged, self._unplaced = JudgedBatches(), Unplaced(self._settings.task)

    def counters(self) -> dict[str, float]:
        """Counts since the start, and how far event time is closed."""
        gauges = {
            f'closed_ms{{partition="{number}"}}': float(part.closed_ms)
            for number, part in self._parts.items()
        }
        gauges["held_inputs"] = float(sum(part.held for part in self._parts.values()))
        gauges["conflicts_total"] = float(sum(part.conflicts for part in self._parts.values()))
        return {**self._counts, **records_read(self._read), **gauges}

    def _take_event(self, record: Record) -> None:
        part = self._parts[record.partition()]
        self._read[EVENTS] += 1
        value, own = record.value(), record.headers()
        try:
            event = self._event_of(value)
            fitting(value, own or ())
            if type(event) is EventWatermark:
                self._mark(part, topics.EVENTS, event, value)
                return
            now_ms, at_ms = self._now_ms(part), event.event_time_ms
            self._intake.check(event, now_ms)
            self._intake.check_ahead(at_ms, part.clock, self._wall_ms)
        except InvalidEvent as error:
            self._refuse(topics.EVENTS, record, intake.typed(error))
            return
        part.clock.saw(EVENTS, at_ms, self._wall_ms)
        if not part.is_new(event, value):
            self._counts["duplicates_total"] += 1
            return
        event, kept, identity = self._intake.admit(event, value, part.people.said)
        if type(event) is PurchaseMade and not part.is_new_order(event):
            self._counts["duplicate_orders_total"] += 1
            return
        if now_ms is not None:
            part.running.arrived(event, now_ms)
        key = event.visitor_id.encode()
        if identity is not None:
            self._out(part.number, topics.IDENTITIES, key, part.people.say(identity), part.number)
        # Where something was taken out, the shop's own headers may name it still.
        said = own if kept is value else None
        headers = said or self._cloud.of(type(event), event.event_id)
        self._changes.outs.append(Out(part.number, self._valid, key, kept, part.number, headers))
        if not isinstance(event, _WITHOUT_FACTS) or event.consent or event.formerly:
            part.hold(EVENTS, at_ms, event.event_id, event)

    def _take_prediction(self, record: Record) -> None:
        part = self._parts[record.partition()]
        self._read[PREDICTIONS] += 1
        value = record.value()
        try:
            answer = self._prediction_of(value)
            if type(answer) is Watermark:
                self._mark(part, topics.PREDICTIONS, answer, value)
                return
            now_ms = self._now_ms(part)
            self._intake.check_ahead(answer.served_at_ms, part.clock, self._wall_ms)
        except InvalidEvent as error:
            self._refuse(topics.PREDICTIONS, record, intake.typed(error))
            return
        part.clock.saw(PREDICTIONS, answer.served_at_ms, self._wall_ms)
        if now_ms is not None:
            part.running.served(answer, now_ms)
        part.hold(PREDICTIONS, answer.served_at_ms, answer.prediction_id, answer)

    def _now_ms(self, part: VisitorPartition) -> int | None:
        return self._wall_ms if self._live and not part.clock.by_barriers else None

    def _mark(
        self,
        part: VisitorPartition,
        topic: Topic,
        said: Watermark | EventWatermark,
        value: bytes,
    ) -> None:
        if topic is topics.EVENTS:
            self._out(part.number, topics.EVENTS_VALID, None, value, part.number)
        mark = Mark(said.event_time_ms, said.barrier, said.run_id, said.final)
        passed = part.mark(topic.name, mark)
        if passed is not None:
            part.advance(passed.event_time_ms)
            self._say_sums(part)
            self._tell_tasks(part, passed)

    def _pass_time(self, part: VisitorPartition) -> None:
        """Live time goes on; in barrier time even late inputs wait for the next barrier."""
        now_ms, own = self._now_ms(part), self._settings
        if now_ms is not None:
            part.advance(part.clock.live(now_ms, own.lateness_ms, own.idle_ms, NEAR_MS))

    def _say(self, part: VisitorPartition, record: Input | None, output: join.Output) -> None:
        if isinstance(record, PurchaseMade):
            self._basket(part.number, record, output.unattributed)
        for verdict in output.verdicts:
            self._state(part, verdict)
        for prediction_id in output.dropped:
            part.forget(prediction_id)
        counts = self._counts
        self._unplaced.add(part.number, output.orphans, output.late)
        counts["orphans_total"] += output.orphans
        counts["late_answers_total"] += output.late
        counts["unattributed_items_total"] += output.unattributed

    def _state(self, part: VisitorPartition, verdict: Verdict) -> None:
        prediction = part.answer(verdict.prediction_id)
        identity = statement_id(verdict)
        outcome = outcome_of(prediction, verdict, identity)
        key = prediction.visitor_id.encode()
        headers = self._cloud.of("outcome", identity)
        out = Out(part.number, self._outcomes, key, encode(outcome), part.number, headers)
        self._changes.outs.append(out)
        judged = judged_of(prediction, verdict, identity, self._settings.learned_ages)
        self._judge(part.number, encode(judged))
        self._counts[f'outcomes_total{{age="{verdict.age}"}}'] += 1

    def _judge(self, source: int, entry: bytes) -> None:
        full = self._judged.add(source, entry)
        if full is not None:
            self._send_judged(source, full)

    def _send_judged(self, source: int, value: bytes) -> None:
        key = self._settings.task.encode()
        headers: list[tuple[str, bytes | None]] = [(PARTITION_HEADER, str(source).encode())]
        self._changes.outs.append(Out(source, self._slots, key, value, None, headers))

    def _say_sums(self, part: VisitorPartition) -> None:
        moment_ms = 0 if part.clock.by_barriers else self._wall_ms  # tells live statements apart
        counts = self._unplaced.take(part.number, part.closed_ms, moment_ms)
        if counts is not None:
            self._judge(part.number, encode(counts))

    def _basket(self, source: int, event: PurchaseMade, unattributed: int) -> None:
        self._counts["bought_items_total"] += len({item.item_id for item in event.items})
        surface = self._settings.surface_names[0]
        self._judge(source, encode(basket_of(event, self._settings.task, surface, unattributed)))

    def _tell_tasks(self, part: VisitorPartition, mark: Mark) -> None:
        """Passes the barrier of this partition on to every partition of `slots`."""
        if (before := self._judged.rest_of(part.number)) is not None:
            self._send_judged(part.number, before)
        value = encode(
            Watermark(
                event_time_ms=mark.event_time_ms,
                barrier=mark.barrier,
                run_id=mark.run_id,
                final=mark.final,
            )
        )
        headers: Headers = [(PARTITION_HEADER, str(part.number).encode())]
        for number in range(topics.SLOTS.partitions):
            self._out(part.number, topics.SLOTS, None, value, number, headers)

    def _progress(self, wall_ms: int) -> None:
        if not self._parts:
            return
        slowest = min(self._parts.values(), key=lambda part: part.closed_ms)
        passed = slowest.clock.passed
        at_barrier = passed is not None and passed.event_time_ms == slowest.closed_ms
        moved = at_barrier and slowest.closed_ms != self._said_ms
        if not moved and wall_ms - self._said_wall_ms < HEARTBEAT_MS:
            return
        self._said_ms, self._said_wall_ms = slowest.closed_ms, wall_ms
        progress = Progress(
            process=self.process,
            watermark_ms=slowest.closed_ms,
            barrier=passed.barrier if passed else -1,
            run_id=passed.run_id if passed else "",
            wall_ms=wall_ms,
        )
        self._out(slowest.number, topics.PROGRESS, self.process.encode(), encode(progress))

    def _refuse(self, topic: Topic, record: Record, error: InvalidEvent) -> None:
        self._counts[f'refused_total{{topic="{topic.name}",reason="{error.reason}"}}'] += 1
        self._parts[record.partition()].refused(topic.name)
        key, value, headers = letter(record, error)
        self._out(record.partition(), topics.refused(topic), key, value, None, headers)

    def _out(
        self,
        source: int,
        topic: Topic,
        key: bytes | None,
        value: bytes | None,
        to: int | None = None,
        headers: Headers = (),
    ) -> None:
        name = self._names.full(topic)
        self._changes.outs.append(Out(source, name, key, value, to, list(headers)))
