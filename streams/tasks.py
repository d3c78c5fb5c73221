"""The task stage: judged lists and commands in; figures, alarms, decisions and weights out.

Wiring alone, decisions are `core/task_stage.py`'s. Its state is a snapshot and a journal of what
was stepped since, so that a batch costs what it changes and a restart goes on exactly.
"""

from collections import Counter
from collections.abc import Callable, Iterator

import msgspec

from core.settings import Settings
from core.task_stage import TaskStage
from core.watermarks import NEAR_MS, Clock, Mark, clock
from schemas import topics
from schemas.codec import Decoder, cloud_headers, encode
from schemas.errors import InvalidEvent
from schemas.models import Order, Retrain
from schemas.outcomes import Running
from schemas.watermarks import Progress, Watermark
from streams.stage import Names, Record, letter, records_read
from streams.store import Changes, Out, Store
from streams.task_entries import Entry, Standing, each_of
from streams.visitors import HEARTBEAT_MS, PARTITION_HEADER, Headers

CLOSE_EVERY_MS = 1_000
CLOSES_PER_SNAPSHOT = 100
ENTRIES_PER_SNAPSHOT = 20_000
# Slots of a quiet visitor partition come as late as it takes to call it idle.
_SLACK_MS = 1_000
_OWNER = 0
_SNAPSHOT, _JOURNAL, _CLOCK, _STANDING = "snapshot", "journal", "clock", "standing"
_FIRST_ENTRY = 1 << 40  # as text of one width, so that the order of keys is that of numbers
_SOURCE = "shoploop/streams"
# Each visitor partition passes its barriers on to each partition of `slots`.
_SOURCES = [
    f"{slots}/{visitors}"
    for slots in range(topics.SLOTS.partitions)
    for visitors in range(topics.VISITOR_PARTITIONS)
]
_pack = msgspec.msgpack.Encoder().encode


_entry = msgspec.msgpack.Decoder(Entry).decode
_standing = msgspec.msgpack.Decoder(Standing).decode
_clock = msgspec.msgpack.Decoder(Clock).decode


class TaskRoom:
    """The stage over all partitions of `slots`; exactly one worker may own it.

    Args:
        settings: the settings.
        ends: next offsets by "topic/partition" of what a retrain's data must include.
    """

    process = "streams.tasks"
    short = "streams.tasks"
    inputs: tuple[topics.Topic, ...] = (topics.SLOTS, topics.COMMANDS)
    journaled = False  # it keeps a journal of its own
    gather_s = 0.0  # a visitor batch's slots come in one transaction

    def __init__(self, settings: Settings, ends: Callable[[], dict[str, int]]) -> None:
        self._settings = settings
        self._ends = ends
        self._names = Names(settings)
        self._decoders = {topic.name: Decoder(topic.record) for topic in self.inputs}
        self._counts: Counter[str] = Counter()
        self._read: Counter[str] = Counter()
        self._changes = Changes()
        self._assigned = False
        self._stage = TaskStage(settings)
        self._standing = Standing()
        self._clock = clock(_SOURCES)
        self._first_entry = self._next_entry = _FIRST_ENTRY
        self._entries = self._closes = 0
        self._closed_wall_ms = self._said_wall_ms = 0

    def load(self, store: Store, partitions: list[int]) -> None:
        """Goes on from the snapshot and the journal in the store."""
        self._assigned = bool(partitions)
        self._begin()
        if not partitions:
            return
        saved = store.get((_OWNER, _SNAPSHOT, ""))
        if saved is not None:
            self._stage = TaskStage.from_bytes(self._settings, saved)
        if (known := store.get((_OWNER, _CLOCK, ""))) is not None:
            self._clock = _clock(known)
        if (standing := store.get((_OWNER, _STANDING, ""))) is not None:
            self._standing = _standing(standing)
        for key, value, _ in store.rows(_OWNER, _JOURNAL):
            entry = _entry(value)
            self._first_entry = self._first_entry if self._entries else int(key)
            self._entries += 1
            self._next_entry = int(key) + 1
            if entry.topic:
                for each in each_of(self._decoders[entry.topic](entry.value)):
                    self._stage.step(each, entry.after_ms)
            else:
                self._closes += 1
                self._stage.close(entry.watermark_ms, entry.wall_ms)

    def step(self, records: list[Record], wall_ms: int, live: bool) -> Changes:
        """Works through a batch; closes what barriers or live time allow."""
        self._changes = changes = Changes()
        for record in records:
            self._take(record, wall_ms)
        if live and self._assigned:
            self._pass_live_time(wall_ms)
            self._say_now(wall_ms)
            if wall_ms - self._said_wall_ms >= HEARTBEAT_MS:
                self._progress(wall_ms)
        if records:
            changes.put((_OWNER, _CLOCK, ""), _pack(self._clock))
        if self._closes >= CLOSES_PER_SNAPSHOT or self._entries >= ENTRIES_PER_SNAPSHOT:
            self._snapshot()
        return changes

    def closed(self) -> dict[int, int]:
        """Nothing: the stage has one owner, and its journal knows each close."""
        return {}

    def repeat(self, until: dict[int, int]) -> None:
        """Nothing, see `closed`."""

    def checkpoint(self, changes: Changes) -> Iterator[None]:
        """The snapshot, so that the next start reads no journal."""
        self._changes = changes
        if self._assigned and self._entries:
            self._snapshot()
        return iter(())

    def changed(self) -> int:
        """Nothing: each step says all it changes."""
        return 0

    def counters(self) -> dict[str, float]:
        """Counts since the start, and how far event time is closed."""
        read = records_read(self._read)
        return {**self._counts, **read, "closed_ms": float(self._stage.watermark_ms)}

    def _begin(self) -> None:
        self._stage = TaskStage(self._settings)
        self._standing = Standing()
        self._clock = clock(_SOURCES)
        self._first_entry = self._next_entry = _FIRST_ENTRY
        self._entries = self._closes = 0

    def _take(self, record: Record, wall_ms: int) -> None:
        topic = self._names.topic(record.topic())
        self._read[topic.name] += 1
        try:
            decoded = self._decoders[topic.name](record.value())
        except InvalidEvent as error:
            self._refuse(topic.name, record, error)
            return
        if isinstance(decoded, Watermark):
            self._mark(record, decoded, wall_ms)
            return
        after_ms = self._after_ms(record)
        for each in each_of(decoded):
            if topic is topics.SLOTS and not isinstance(each, Running):
                at_ms = getattr(each, "closed_at_ms", None) or each.event_time_ms
                self._clock.saw(f"{record.partition()}/0", at_ms, wall_ms)
            self._stage.step(each, after_ms)
        self._note(Entry(topic=topic.name, value=record.value(), after_ms=after_ms))
        if isinstance(decoded, Order) and self._clock.by_barriers:
            # An order is due at once, and no barrier may come before it is carried out.
            self._close(self._stage.watermark_ms, wall_ms)
            self._progress(wall_ms)

    def _after_ms(self, record: Record) -> int:
        """The barrier that its visitor partition had passed when it said this, -1 if none.

        What one partition says after a barrier is for the next one, even where the others have not
        passed it yet: so it changes nothing which partition is ahead.
        """
        named = dict(record.headers() or []).get(PARTITION_HEADER)
        if named is None or not self._clock.by_barriers:
            return -1
        source = self._clock.sources.get(f"{record.partition()}/{named.decode()}")
        return source.mark.event_time_ms if source is not None and source.mark else -1

    def _mark(self, record: Record, said: Watermark, wall_ms: int) -> None:
        mark = Mark(said.event_time_ms, said.barrier, said.run_id, said.final)
        named = dict(record.headers() or []).get(PARTITION_HEADER)
        visitors = [named.decode()] if named else map(str, range(topics.VISITOR_PARTITIONS))
        for number in visitors:
            passed = self._clock.mark(f"{record.partition()}/{number}", mark)
            if passed is not None:
                self._close(passed.event_time_ms, wall_ms)
                self._progress(wall_ms)

    def _pass_live_time(self, wall_ms: int) -> None:
        if self._clock.by_barriers or wall_ms - self._closed_wall_ms < CLOSE_EVERY_MS:
            return
        settings = self._settings
        reached = self._clock.live(
            wall_ms,
            settings.lateness_ms + settings.idle_ms + _SLACK_MS,
            settings.idle_ms,
            NEAR_MS,
        )
        before = self._standing
        self._close(max(reached, 0), wall_ms)
        if self._standing != before:
            self._progress(wall_ms)

    def _close(self, watermark_ms: int, wall_ms: int) -> None:
        self._note(Entry(watermark_ms=watermark_ms, wall_ms=wall_ms))
        self._closes += 1
        self._closed_wall_ms = wall_ms
        outputs = self._stage.close(watermark_ms, wall_ms)
        self._standing = Standing(
            outputs.live, outputs.challenger, outputs.weights, outputs.in_flight, outputs.canary
        )
        self._changes.put((_OWNER, _STANDING, ""), _pack(self._standing))
        for topic, key, record in outputs.records:
            self._say(topic, key, record)

    def _say_now(self, wall_ms: int) -> None:
        """Rows at the age `now`: no close, and no entry, for the state stays as it is."""
        if not self._clock.by_barriers:
            for metric in self._stage.said_now(wall_ms):
                self._say(topics.METRICS, metric.task, metric)

    def _say(self, topic: topics.Topic, key: str, record: msgspec.Struct) -> None:
        if isinstance(record, Retrain) and record.state == "accepted":
            record = msgspec.structs.replace(record, offsets=self._ends())
        self._counts[f'said_total{{topic="{topic.name}"}}'] += 1
        identity = str(getattr(record, record.__struct_fields__[0]))
        headers = cloud_headers(topic.name, identity, _SOURCE)
        self._out(topic, key.encode(), encode(record), headers)

    def _progress(self, wall_ms: int) -> None:
        self._said_wall_ms = wall_ms
        passed, standing = self._clock.passed, self._standing
        progress = Progress(
            process=self.process,
            watermark_ms=self._stage.watermark_ms,
            barrier=passed.barrier if passed else -1,
            run_id=passed.run_id if passed else "",
            wall_ms=wall_ms,
            live=standing.live,
            challenger=standing.challenger,
            weights=standing.weights,
            in_flight=standing.in_flight,
            canary=standing.canary,
        )
        self._out(topics.PROGRESS, self.process.encode(), encode(progress))

    def _refuse(self, topic_name: str, record: Record, error: InvalidEvent) -> None:
        self._counts[f'refused_total{{topic="{topic_name}",reason="{error.reason}"}}'] += 1
        refused = topics.BY_NAME.get(topic_name + topics.REFUSED_SUFFIX)
        if refused is not None:  # `slots` is our own: it has none
            self._out(refused, *letter(record, error))

    def _note(self, entry: Entry) -> None:
        self._changes.put((_OWNER, _JOURNAL, str(self._next_entry)), _pack(entry))
        self._next_entry += 1
        self._entries += 1

    def _snapshot(self) -> None:
        for number in range(self._first_entry, self._next_entry):
            self._changes.delete((_OWNER, _JOURNAL, str(number)))
        self._first_entry = self._next_entry
        self._entries = self._closes = 0
        self._changes.put((_OWNER, _SNAPSHOT, ""), self._stage.to_bytes())

    def _out(
        self,
        topic: topics.Topic,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
    ) -> None:
        name = self._names.full(topic)
        self._changes.outs.append(Out(_OWNER, name, key, value, None, list(headers)))
