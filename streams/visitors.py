"""The visitor stage: validate, drop repeats, join; out come valid events, outcomes and slots.

Wiring alone: what is valid is `core/intake.py`'s, what an answer came to `core/join.py`'s.
"""

from collections import Counter
from collections.abc import Sequence

from core import intake, join
from core.settings import Settings
from core.verdict import judged_of, outcome_of
from core.watermarks import NEAR_MS, Mark
from schemas import topics
from schemas.codec import Decoder, cloud_headers, encode, refused_headers
from schemas.errors import InvalidEvent
from schemas.events import EventWatermark, ItemListViewed, PurchaseMade, Searched, ShopEvent
from schemas.outcomes import BasketSeen
from schemas.predictions import Prediction
from schemas.topics import Topic
from schemas.watermarks import Progress, Watermark
from streams.stage import Names, Record, origin_of, records_read
from streams.store import Changes, Out, Store
from streams.visitor_partition import Input, VisitorPartition

PARTITION_HEADER = "shoploop_partition"
HEARTBEAT_MS = 1_500
_SOURCE = "shoploop/streams"
Headers = Sequence[tuple[str, bytes | None]]
_WITHOUT_FACTS = (ItemListViewed, Searched)


class VisitorStage:
    """The stage over the partitions this worker owns."""

    process = "streams.visitors"
    short = "streams.visitors"
    inputs: tuple[Topic, ...] = (topics.EVENTS, topics.PREDICTIONS)
    gather_s = 0.004  # partitions come one by one; a transaction costs several times that

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._names = Names(settings)
        self._decoders = {topic.name: Decoder(topic.record) for topic in self.inputs}
        self._parts: dict[int, VisitorPartition] = {}
        self._counts: Counter[str] = Counter()
        self._read: Counter[str] = Counter()
        self._changes = Changes()
        self._said_ms: int | None = None
        self._said_wall_ms = 0

    def load(self, store: Store, partitions: list[int]) -> None:
        """Takes up the partitions as the store has them; others are let go."""
        self._parts = {
            number: VisitorPartition(number, self._settings, store) for number in partitions
        }

    def step(self, records: list[Record], wall_ms: int, live: bool) -> Changes:
        """Works through a batch of all partitions, then lets their time pass."""
        self._changes = changes = Changes()
        for part in self._parts.values():
            part.begin(changes)
        touched = {int(record.partition()) for record in records}
        for record in records:
            self._take(record, wall_ms, live)
        for part in self._parts.values():
            if self._pass_time(part, wall_ms, live) or part.number in touched:
                part.finish()
                part.keep_held()
        self._progress(wall_ms)
        return changes

    def closed(self) -> dict[int, int]:
        """How far event time is closed on each partition."""
        return {number: part.closed_ms for number, part in self._parts.items()}

    def repeat(self, until: dict[int, int]) -> Changes:
        """Closes what an earlier owner had closed by the wall clock; barriers are in the inputs."""
        self._changes = changes = Changes()
        for part in self._parts.values():
            part.begin(changes)
            if not part.clock.by_barriers and self._advance(part, until.get(part.number, -1)):
                part.finish()
                part.keep_held()
        return changes

    def rest(self) -> Changes:
        """Nothing: every change was kept with its batch."""
        return Changes()

    def counters(self) -> dict[str, float]:
        """Counts since the start, and how far event time is closed."""
        gauges = {
            f'closed_ms{{partition="{number}"}}': float(part.closed_ms)
            for number, part in self._parts.items()
        }
        held = float(sum(part.held for part in self._parts.values()))
        return {**self._counts, **records_read(self._read), **gauges, "held_inputs": held}

    def _take(self, record: Record, wall_ms: int, live: bool) -> None:
        topic = self._names.topic(record.topic())
        part = self._parts[record.partition()]
        self._read[topic.name] += 1
        try:
            decoded = self._decoders[topic.name](record.value())
            if isinstance(decoded, Watermark | EventWatermark):
                self._mark(part, topic, decoded, record.value())
            elif isinstance(decoded, Prediction):
                part.clock.saw(topic.name, decoded.served_at_ms, wall_ms)
                part.hold(decoded, record.value())
            else:
                by_wall = live and not part.clock.by_barriers
                intake.check(
                    decoded, wall_ms if by_wall else None, self._settings.future_tolerance_ms
                )
                self._event(part, decoded, record, wall_ms)
        except InvalidEvent as error:
            self._refuse(topic, record, intake.typed(error))

    def _event(
        self, part: VisitorPartition, event: ShopEvent, record: Record, wall_ms: int
    ) -> None:
        part.clock.saw(topics.EVENTS.name, event.event_time_ms, wall_ms)
        if not part.is_new(event):
            self._counts["duplicates_total"] += 1
            return
        headers = record.headers() or cloud_headers(
            str(type(event).__struct_config__.tag), event.event_id, _SOURCE
        )
        key, value = event.visitor_id.encode(), record.value()
        self._out(part.number, topics.EVENTS_VALID, key, value, part.number, headers)
        if not isinstance(event, _WITHOUT_FACTS):
            part.hold(event, value)

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
        began = part.clock.run_id
        passed = part.clock.mark(topic.name, mark)
        if part.clock.run_id not in ("", began):
            part.closed_ms = -1  # another run: its event time begins anew
        if passed is not None:
            self._advance(part, passed.event_time_ms)
            self._tell_tasks(part, passed)

    def _pass_time(self, part: VisitorPartition, wall_ms: int, live: bool) -> bool:
        """Live time goes on, and late inputs are stepped; False when nothing happened."""
        reached = part.closed_ms
        if not part.clock.by_barriers and live:
            settings = self._settings
            reached = part.clock.live(wall_ms, settings.lateness_ms, settings.idle_ms, NEAR_MS)
        return self._advance(part, reached)

    def _advance(self, part: VisitorPartition, watermark_ms: int) -> bool:
        happened = False
        for record, output in part.advance(watermark_ms):
            happened = True
            if isinstance(record, PurchaseMade):
                self._basket(part.number, record)
            self._say(part, record, output)
        return happened

    def _say(self, part: VisitorPartition, record: Input | None, output: join.Output) -> None:
        for verdict in output.verdicts:
            prediction = part.answer(verdict.prediction_id)
            outcome = outcome_of(prediction, verdict)
            key = prediction.visitor_id.encode()
            headers = cloud_headers("outcome", outcome.outcome_id, _SOURCE)
            self._out(part.number, topics.OUTCOMES, key, encode(outcome), part.number, headers)
            slot_key = f"{prediction.task}/{prediction.surface}".encode()
            judged = encode(judged_of(prediction, verdict))
            self._out(part.number, topics.SLOTS, slot_key, judged)
            self._counts[f'outcomes_total{{age="{verdict.age}"}}'] += 1
        for prediction_id in output.dropped:
            part.forget(prediction_id)
        self._counts["orphans_total"] += output.orphans
        self._counts["late_answers_total"] += output.late
        self._counts["unattributed_items_total"] += output.unattributed
        if isinstance(record, PurchaseMade):
            self._counts["bought_items_total"] += len({item.item_id for item in record.items})

    def _basket(self, source: int, event: PurchaseMade) -> None:
        surface = self._settings.surface_names[0]
        seen = BasketSeen(
            event_id=event.event_id,
            event_time_ms=event.event_time_ms,
            visitor_id=event.visitor_id,
            task=self._settings.task,
            surface=surface,
            item_ids=list(dict.fromkeys(item.item_id for item in event.items)),
        )
        key = f"{self._settings.task}/{surface}".encode()
        self._out(source, topics.SLOTS, key, encode(seen))

    def _tell_tasks(self, part: VisitorPartition, mark: Mark) -> None:
        """Passes the barrier of this partition on to every partition of `slots`."""
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
        headers = [*(record.headers() or []), *refused_headers(error, origin_of(record))]
        refused = topics.BY_NAME[topic.name + topics.REFUSED_SUFFIX]
        self._out(record.partition(), refused, record.key(), record.value(), None, headers)

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
