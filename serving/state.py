"""The live state of one process: what it follows, and how a record changes it.

Follows `events.valid`, `items`, `models` and `weights` without a group, in its own thread. One lock
guards the state: whoever reads it to answer holds it, too.
"""

import logging
import threading
import time
from collections.abc import Callable

from confluent_kafka import Message

from adapters.kafka import Follower
from core.sequence import SequenceVocabulary
from core.settings import Settings
from core.shop_people import meet, person_of
from core.shop_state import ShopState
from core.vocabularies import columns_of
from schemas import topics
from schemas.codec import Decoder
from schemas.errors import InvalidEvent
from schemas.events import (
    EventRecord,
    EventWatermark,
    FeedbackGiven,
    Searched,
    ShopEvent,
)
from schemas.items import Item
from schemas.models import ModelPointer, Weights
from schemas.watermarks import Watermark
from serving.merge import EventMerge
from serving.past import Reach, put_item, state_from_clickhouse
from serving.remembering import RememberingState
from serving.snapshot import Snapshot, SnapshotFile
from serving.staleness import Staleness
from serving.versions import Versions

FOLLOWED = (topics.EVENTS_VALID, topics.ITEMS, topics.MODELS, topics.WEIGHTS)
# Pointers and weights are not part of the state: they are read from their start every time.
IN_STATE = (topics.EVENTS_VALID.name, topics.ITEMS.name)
CATCH_UP_CHUNK = 200_000
POLL_S = 0.2
Offsets = dict[tuple[str, int], int]

log = logging.getLogger(__name__)


class Live:
    """A state, the merge of events into it, and the versions beside it.

    Args:
        settings: the task and where Kafka is.
        versions: obeys pointers and weights.
        snapshots: where the state is kept between runs.
        eager: applies events in live time as they come; otherwise `advance` does.
    """

    def __init__(
        self, settings: Settings, versions: Versions, snapshots: SnapshotFile, *, eager: bool = True
    ) -> None:
        self.lock = threading.Lock()
        self.state: ShopState = RememberingState()
        self.merge = EventMerge()
        self.merge.expect(topics.EVENTS_VALID.name, range(topics.EVENTS_VALID.partitions))
        self.versions = versions
        self.caught_up = False
        self._was_ready = False
        self.refused = 0
        self.applied = 0
        self.staleness = Staleness()
        self.weights_at_ms = 0  # event time of the newest weights that answers may use
        self._settings = settings
        self._snapshots = snapshots
        self._eager = eager
        self._offsets: Offsets = {}
        self._pointer: ModelPointer | None = None
        self._decoders = {topic.name: Decoder(topic.record) for topic in FOLLOWED}
        self._saved_s = time.monotonic()

    @property
    def ready(self) -> bool:
        """True from when the state was read and the version announced by then was in use."""
        self._was_ready = self._was_ready or (self.caught_up and self.versions.settled)
        return self._was_ready

    def restore(self) -> None:
        """Begins where the snapshot left off, else with what Kafka has deleted, from ClickHouse."""
        reach = Reach(self._settings)
        snapshot = self._snapshots.load(reach.cluster)
        if snapshot is None or not reach.covers(snapshot.offsets):
            self._restore_from_clickhouse(reach)
            return
        self.state = snapshot.state
        self._offsets = dict(snapshot.offsets)
        partitions = range(topics.EVENTS_VALID.partitions)
        self.merge.expect(topics.EVENTS_VALID.name, partitions, snapshot.mark)
        self.merge.closed = snapshot.mark

    def _restore_from_clickhouse(self, reach: Reach) -> None:
        if reach.is_whole:
            return
        state_from_clickhouse(self._settings, reach, self.state)
        name = topics.EVENTS_VALID.name
        self._offsets = {(name, number): first for number, (first, _) in reach.ranges.items()}

    def follow(self, stopping: threading.Event, after_poll: Callable[[], None]) -> None:
        """Reads until stopped; `after_poll` is called without the lock after every poll.

        Raises:
            Unavailable: the broker reported an error that does not pass.
        """
        follower = Follower(self._settings, FOLLOWED, self._offsets)
        try:
            while not stopping.is_set():
                self._take(follower)
                self.staleness.look(follower)
                if not self.caught_up and follower.caught_up:
                    self._catch_up()
                after_poll()
                self._save_now_and_then()
        finally:
            follower.close()
            self.save()

    def advance(self, until_ms: int | None = None) -> None:
        """Applies what may be applied; `until_ms` holds back newer events in live time.

        The caller holds the lock.
        """
        for event in self.merge.take(until_ms):
            self._apply(event)

    def prepare(self, vocabulary: SequenceVocabulary) -> None:
        """Looks up the catalogue's columns in a vocabulary before a version with it answers.

        Without the lock, but for items that came meanwhile: the catalogue only grows.
        """
        columns = columns_of(self.state.catalogue.item_ids, vocabulary)
        with self.lock:
            self.state.vocabularies.know(vocabulary, columns)

    def save(self) -> None:
        """Writes a snapshot, unless events wait or barriers differ: then the last one stands."""
        with self.lock:
            if not self.caught_up or not self.merge.level:
                return
            mark = self.merge.closed if self.merge.in_replay else None
            kept = {place: n for place, n in self._offsets.items() if place[0] in IN_STATE}
            data = self._snapshots.pack(Snapshot(kept, mark, self.state))
        self._snapshots.write(data)
        self._saved_s = time.monotonic()

    def _take(self, follower: Follower) -> None:
        """Reads all that has come, then applies, so that items go before events that name them."""
        found = follower.poll(POLL_S)
        if not found:
            return
        with self.lock:
            while found:
                for name, message in found:
                    self._read(name, message)
                found = follower.poll(0) if self.merge.waiting < CATCH_UP_CHUNK else []
            behind = not self.caught_up and self.merge.waiting < CATCH_UP_CHUNK
            if self.merge.in_replay or (self._eager and not behind):
                self.advance()

    def _catch_up(self) -> None:
        if self._pointer is not None:
            self.versions.point(self._pointer, live=False)
        with self.lock:
            if self._eager:
                self.advance()
            self.state.read_titles()
            self.caught_up = True
        log.info(
            "caught up: %d events applied, %d visitors", self.applied, len(self.state.visitors)
        )

    def _read(self, name: str, message: Message) -> None:
        partition, offset = int(message.partition() or 0), int(message.offset() or 0)
        self._offsets[(name, partition)] = offset + 1
        value = message.value()
        if value is None:
            return
        try:
            record = self._decoders[name](value)
        except InvalidEvent as error:
            self.refused += 1
            log.warning("passed over %s[%d]@%d: %s", name, partition, offset, error.reason)
            return
        self._handle(record, partition)

    def _handle(self, record: EventRecord | Item | ModelPointer | Weights, partition: int) -> None:
        match record:
            case EventWatermark():
                self.merge.mark(topics.EVENTS_VALID.name, partition, record)
            case Item():
                put_item(self.state, record)
            case ModelPointer():
                self._point(record)
            case Weights():
                if record.task == self._settings.task:
                    if record.role == "live":
                        self.weights_at_ms = max(self.weights_at_ms, record.event_time_ms)
                    self.versions.weigh(record)
            case _:
                self.merge.add(record)

    def _point(self, pointer: ModelPointer) -> None:
        """Obeys a pointer at once, or after the end is reached: only the newest counts."""
        if pointer.task != self._settings.task:
            return
        if self.caught_up:
            self.versions.point(pointer, live=True)
        else:
            self._pointer = pointer

    def _apply(self, event: ShopEvent) -> None:
        self.applied += 1
        match event:
            case Searched() | FeedbackGiven():
                items: list[str] = []
            case _:
                items = [item.item_id for item in event.items]
        if not meet(self.state, person_of(event)):
            items = []
        kind = type(event).__struct_config__.tag
        self.state.apply(event.visitor_id, str(kind), items, event.event_time_ms)

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self._saved_s > self._snapshots.every_s:
            self._saved_s = time.monotonic()
            self.save()


def watermark_of(live: Live) -> tuple[int, int, str]:
    """Event time closed, barrier and run of a process; -1 before the first barrier."""
    closed: Watermark | EventWatermark | None = live.merge.closed
    if closed is None:
        return -1, -1, ""
    return closed.event_time_ms, closed.barrier, closed.run_id
