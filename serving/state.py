"""The live state of one process: what it follows, and how a record changes it.

Follows `events.valid`, `items`, `models` and `weights` without a group, in its own thread. One lock
guards the state: whoever reads it to answer holds it, too.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from confluent_kafka import Message

from adapters.clock import breathe
from adapters.garbage import set_aside
from adapters.kafka import Follower
from core.partition_share import share_of
from core.sequence import SequenceVocabulary
from core.settings import Settings
from core.shop_people import meet, person_of
from core.shop_state import ShopState
from core.vocabularies import places_in_parts
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
from serving.checkpoint import Checkpoints, Offsets, Place
from serving.merge import EventMerge
from serving.past import Reach, gone, put_item, put_items, state_from_clickhouse
from serving.saving import Saving
from serving.staleness import Staleness
from serving.versions import Versions

FOLLOWED = (topics.EVENTS_VALID, topics.ITEMS, topics.MODELS, topics.WEIGHTS)
# Pointers and weights are not part of the state: they are read from their start every time.
IN_STATE = (topics.EVENTS_VALID.name, topics.ITEMS.name)
CATCH_UP_CHUNK = 20_000
"""Records applied at a time before the end is reached; a checkpoint may stand between any two."""

LIVE_CHUNK = 2_000
POLL_S = 0.2
SLICE_S = 0.003
PAUSE_S = 0.0005
"""Records are applied for so long with the lock held; then answers have their turn."""

_T = TypeVar("_T")
_Read = tuple[str, Message, Any]

log = logging.getLogger(__name__)


class Live:
    """A state, the merge of events into it, and the versions beside it.

    Args:
        settings: the task and where Kafka is.
        versions: obeys pointers and weights.
        checkpoints: where the state is kept between runs, and what does not fit into memory.
        eager: applies events in live time as they come; otherwise `advance` does.
    """

    def __init__(
        self,
        settings: Settings,
        versions: Versions,
        checkpoints: Checkpoints,
        *,
        eager: bool = True,
    ) -> None:
        self.lock = threading.Lock()
        self.state: ShopState = checkpoints.state
        self.merge = EventMerge()
        self._partitions = share_of(settings.served_partitions).partitions
        self.merge.expect(topics.EVENTS_VALID.name, self._partitions)
        self.versions = versions
        self.caught_up = False
        self._was_ready = False
        self.refused = 0
        self.applied = 0
        self.staleness = Staleness()
        self.weights_at_ms = 0  # event time of the newest weights that answers may use
        self._settings = settings
        self._checkpoints = checkpoints
        self._saving = Saving(checkpoints, self.lock, self._place)
        self._ready: deque[ShopEvent] = deque()  # out of the merge, not applied yet
        self._eager = eager
        self._offsets: Offsets = {}
        self._pointer: ModelPointer | None = None
        self._decoders = {topic.name: Decoder(topic.record) for topic in FOLLOWED}

    @property
    def ready(self) -> bool:
        """True from when the state was read and the version announced by then was in use."""
        self._was_ready = self._was_ready or (self.caught_up and self.versions.settled)
        return self._was_ready

    @property
    def shoppers_in_memory(self) -> int:
        """How many shoppers need no reading from disk."""
        return self._checkpoints.held_shoppers

    @property
    def is_on_disk(self) -> bool:
        """Whether the next start finds the state on this machine."""
        return self._checkpoints.is_on_disk

    def restore(self) -> None:
        """Begins where the checkpoint stands, else with what Kafka has deleted, from ClickHouse."""
        reach = Reach(self._settings)
        place = self._checkpoints.load(reach.source)
        if place is not None and not reach.covers(place.offsets):
            log.warning("left the state aside: Kafka does not hold what came after it")
            self._checkpoints.clear()
            place = None
        self.state = self._checkpoints.state
        if place is None:
            self._restore_from_clickhouse(reach)
            return
        self._offsets = dict(place.offsets)
        self.merge.expect(topics.EVENTS_VALID.name, self._partitions, place.mark)
        self.merge.closed = place.mark

    def _restore_from_clickhouse(self, reach: Reach) -> None:
        if reach.is_whole:
            if reach.events > CATCH_UP_CHUNK:
                put_items(self._settings, self.state)
            return
        state_from_clickhouse(self._settings, reach, self.state, self._saving.make_room)
        name = topics.EVENTS_VALID.name
        self._offsets = {(name, number): first for number, (first, _) in reach.ranges.items()}

    def prepare(self, vocabulary: SequenceVocabulary) -> None:
        """Looks up the catalogue's columns in a vocabulary before a version with it answers.

        Without the lock, but for items that came meanwhile: the catalogue only grows. In small
        parts: an answer asks for the interpreter many times, and may wait for a part each time.
        """
        places = places_in_parts(self.state.catalogue.item_ids, vocabulary, breathe)
        with self.lock:
            self.state.vocabularies.know(places)

    def follow(self, stopping: threading.Event, after_poll: Callable[[], None]) -> None:
        """Reads until stopped; `after_poll` is called without the lock after every poll.

        Raises:
            Unavailable: the broker reported an error that does not pass, or the disk refuses.
        """
        only = {topics.EVENTS_VALID.name: self._partitions}
        follower = Follower(self._settings, FOLLOWED, self._offsets, only)
        try:
            while not stopping.is_set():
                self._take(follower)
                self.staleness.look(follower)
                if not self.caught_up and follower.caught_up:
                    self._catch_up()
                after_poll()
                self._saving.go_on(self.state)
        finally:
            follower.close()
        self._saving.save(self.state)

    def advance(self, until_ms: int | None = None) -> None:
        """Applies what may be applied; `until_ms` holds back newer events in live time.

        The caller holds the lock.
        """
        self._ready.extend(self.merge.take(until_ms))
        while self._ready:
            self._apply(self._ready.popleft())

    def _take(self, follower: Follower) -> None:
        """Reads all that has come, then applies, so that items go before events that name them."""
        most = LIVE_CHUNK if self.caught_up else CATCH_UP_CHUNK
        records: list[_Read] = []
        found = follower.poll(0 if self._saving.under_way else POLL_S)
        while found:
            records.extend((name, message, self._decoded(name, message)) for name, message in found)
            more = self.merge.in_replay or self.merge.waiting + len(records) < most
            found = follower.poll(0) if more else []
        if not records:
            return
        self._in_slices(deque(records), self._read)
        with self.lock:
            behind = not self.caught_up and self.merge.waiting < most
            if self.merge.in_replay:
                self.advance()
            elif self._eager and not behind:
                self._ready.extend(self.merge.take())
        self._in_slices(self._ready, self._apply)

    def _in_slices(self, waiting: deque[_T], take: Callable[[_T], None]) -> None:
        """Takes all that waits, with turns for answers between."""
        while waiting:
            with self.lock:
                until_s = time.perf_counter() + SLICE_S
                while waiting and time.perf_counter() < until_s:
                    take(waiting.popleft())
                if self.caught_up:  # else a feed of the catalogue would be read in one answer
                    self.state.read_titles()
            if self.caught_up and waiting and not self.merge.in_replay:
                time.sleep(PAUSE_S)

    def _catch_up(self) -> None:
        if self._pointer is not None:
            self.versions.point(self._pointer, live=False)
        with self.lock:
            if self._eager:
                self.advance()
            self.state.read_titles()
            self.caught_up = True
        set_aside()
        log.info(
            "caught up: %d events applied, %d visitors", self.applied, len(self.state.visitors)
        )

    def _decoded(self, name: str, message: Message) -> Any:
        """The record; None where there is none, or it does not decode."""
        value = message.value()
        if value is None:
            return gone(message.key()) if name == topics.ITEMS.name and message.key() else None
        try:
            return self._decoders[name](value)
        except InvalidEvent as error:
            self.refused += 1
            place = f"{name}[{message.partition()}]@{message.offset()}"
            log.warning("passed over %s: %s", place, error.reason)
            return None

    def _read(self, read: _Read) -> None:
        name, message, record = read
        partition, offset = int(message.partition() or 0), int(message.offset() or 0)
        self._offsets[(name, partition)] = offset + 1
        if record is not None:
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

    def _place(self) -> Place | None:
        """Where the state stands, unless events wait or barriers differ."""
        if not self.merge.level or self._ready:
            return None
        mark = self.merge.closed if self.merge.in_replay else None
        kept = {place: n for place, n in self._offsets.items() if place[0] in IN_STATE}
        return Place(kept, mark)


def watermark_of(live: Live) -> tuple[int, int, str]:
    """Event time closed, barrier and run of a process; -1 before the first barrier."""
    closed: Watermark | EventWatermark | None = live.merge.closed
    if closed is None:
        return -1, -1, ""
    return closed.event_time_ms, closed.barrier, closed.run_id
