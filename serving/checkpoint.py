"""The state on disk: what is not in memory, and from what a restart goes on.

A checkpoint is of one moment. It is packed in short steps between which answers are given and
events applied, and becomes valid with one atomic write of all shoppers that changed, of the rest
of the state and of how far the topics had been read. So a kill at any moment leaves the last valid
one. Co-occurrence rows are written before that write, each beside its last valid copy.

A checkpoint names what it came from: a Kafka cluster, or a share of its partitions. One of another
source, another format or another feature schema is none.
"""

import logging
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from core.features import feature_schema_hash
from core.history_packing import held_bytes, packed_history, unpacked_history
from core.settings import DAY_MS, Settings
from core.state_parts import put_parts
from core.tiered import Form, Tiered
from core.visitor_history import VisitorHistory
from schemas.events import EventWatermark
from schemas.watermarks import Watermark
from serving.gram_kept import GramHead, GramKept
from serving.memory_rows import Row, Rows
from serving.merge import Mark
from serving.outdated import Outdated
from serving.parts_kept import PartsKept
from serving.remembering import RememberingState
from serving.state_store import StoreShelf

FORMAT = 3
EVERY_S = 60.0
HISTORIES = Form(packed_history, unpacked_history, held_bytes)
NAMES = Form(str.encode, bytes.decode, lambda name: 150 + len(name))
PACKED_AT_ONCE = 64
"""Shoppers and matrix rows of one step: about two milliseconds."""

_CHANGED_BYTES = 5_500  # of a shopper with 50 items in memory
_HEAD, _VISITOR, _OWNER = b"head", b"visitor/", b"owner/"
# A state written by other code may lack a name or hold another type where this code reads it.
_UNREADABLE = (msgspec.MsgspecError, ValueError, KeyError, TypeError, AttributeError, struct.error)
Offsets = dict[tuple[str, int], int]
M = TypeVar("M", Watermark, EventWatermark)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """How far the topics have been read: the next offsets, and the barrier the state stands at."""

    offsets: Offsets
    mark: Mark | None


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    cluster: str
    feature_schema: str
    offsets: list[tuple[str, int, int]]
    mark: Watermark | None
    visitors: int
    owners: int
    gram: GramHead


@dataclass
class _Underway:
    head: _Head
    rows: list[Row] = field(default_factory=list)
    packed: bool = False


class Checkpoints:
    """Keeps one process's state in a store.

    Args:
        store: of this process alone.
        settings: how much memory shoppers may take, and for how long they are known.
        every_s: how often a checkpoint is worth its while.
        max_cooccurrence_items: how many items relate to each other at most.
    """

    def __init__(
        self,
        store: Rows,
        settings: Settings,
        every_s: float = EVERY_S,
        max_cooccurrence_items: int = 8192,
    ) -> None:
        self.every_s = every_s
        self._store = store
        self._room_bytes = settings.state_memory_mb * 1_000_000
        self._max_items = max_cooccurrence_items
        self._history_ms = settings.history_days * DAY_MS
        self._cluster = ""
        self._underway: _Underway | None = None
        self._begin_anew()

    def load(self, cluster: str) -> Place | None:
        """Where the last checkpoint stands if it is of this source, with `state` as it was then.

        Otherwise None, and `state` is empty; checkpoints made from now on are of it.
        """
        self._cluster = cluster
        try:
            packed = self._store.get(_HEAD)
            if packed is not None:
                place = self._loaded(_checked(packed, cluster))
                if self._store.is_on_disk:  # else a part of it could not be read
                    return place
        except _UNREADABLE as error:
            log.warning("left the state at %s aside: %s", self._store.path, error)
        self.clear()
        return None

    def clear(self) -> None:
        """Begins with an empty state and an empty store."""
        self._store.clear()
        self._begin_anew()

    @property
    def path(self) -> Path:
        """The folder of the store."""
        return self._store.path

    @property
    def free_bytes(self) -> float:
        """What the store has room for."""
        return self._store.free_bytes

    @property
    def is_on_disk(self) -> bool:
        """Whether the next start finds it."""
        return self._store.is_on_disk

    @property
    def under_way(self) -> bool:
        """Whether a checkpoint has begun and is not valid yet."""
        return self._underway is not None

    @property
    def is_full(self) -> bool:
        """Whether so much has changed that memory asks for a checkpoint."""
        changed = self._visitors.changed + self._owners.changed
        return changed * _CHANGED_BYTES > self._room_bytes // 2

    @property
    def held_shoppers(self) -> int:
        """How many shoppers are in memory, with those asked for of whom nothing is known."""
        return self._visitors.held

    def begin(self, place: Place) -> None:
        """A checkpoint of the state as it is now begins; the caller holds the lock."""
        head = _Head(
            format=FORMAT,
            cluster=self._cluster,
            feature_schema=feature_schema_hash(),
            offsets=[(name, part, offset) for (name, part), offset in place.offsets.items()],
            mark=_plain(place.mark),
            visitors=len(self._visitors),
            owners=len(self._owners),
            gram=GramHead(copies=b""),
        )
        self._parts.take(self.state)
        self._visitors.begin()
        self._owners.begin()
        self._gram.begin()
        self._underway = _Underway(head)

    def pack(self) -> None:
        """A short step; the caller holds the lock."""
        if self._underway is not None:
            rows = self._changed_rows(PACKED_AT_ONCE)
            self._underway.rows += rows
            self._underway.packed = not self._gram.pack(PACKED_AT_ONCE) and not rows

    def write(self) -> None:
        """Writes what the step packed, without the lock; after the last step, makes it valid.

        Raises:
            Unavailable: the disk refuses.
        """
        if self._underway is None:
            return
        self._gram.write()
        if self._underway.packed:
            head = msgspec.structs.replace(self._underway.head, gram=self._gram.head())
            valid: Row = _HEAD, msgspec.msgpack.encode(head)
            self._store.write([*self._underway.rows, *self._parts.rows(), valid])

    def end(self) -> None:
        """Lets go of what is valid on disk now; the caller holds the lock."""
        if self._underway is not None and self._underway.packed:
            self._visitors.end()
            self._owners.end()
            self._gram.end()
            self._underway = None

    def spill(self) -> None:
        """Makes room where no checkpoint can be: until the next one, there is none to go on from.

        The caller holds the lock.
        """
        self._store.write([(_HEAD, None)])
        for kept in (self._visitors, self._owners):
            kept.begin()
        while rows := self._changed_rows(PACKED_AT_ONCE):
            self._store.write(rows)
        for kept in (self._visitors, self._owners):
            kept.end()

    def _begin_anew(self, visitors: int = 0, owners: int = 0) -> None:
        """An empty state over what the store holds of shoppers."""
        self._visitor_shelf = StoreShelf(self._store, _VISITOR)
        self._owner_shelf = StoreShelf(self._store, _OWNER)
        self._visitors: Tiered[VisitorHistory] = Tiered(
            self._visitor_shelf, HISTORIES, self._room_bytes // 2, visitors
        )
        self._owners: Tiered[str] = Tiered(self._owner_shelf, NAMES, self._room_bytes // 16, owners)
        self.state = RememberingState(
            max_cooccurrence_items=self._max_items,
            visitors=self._visitors,
            owners=self._owners,
            history_ms=self._history_ms,
        )
        self._parts = PartsKept(self._store)
        self._gram = GramKept(self._store, self.state.cooccurrence)
        self.outdated = Outdated(self._visitor_shelf)

    def _loaded(self, head: _Head) -> Place:
        self._begin_anew(head.visitors, head.owners)
        put_parts(self.state, self._parts.load())
        self._gram.load(head.gram)
        offsets = {(name, part): offset for name, part, offset in head.offsets}
        return Place(offsets, _event_mark(head.mark))

    def _changed_rows(self, most: int) -> list[Row]:
        visitors, owners = self._visitor_shelf, self._owner_shelf
        rows: list[Row] = [(visitors.key(n), data) for n, data in self._visitors.pack(most)]
        return rows + [(owners.key(n), data) for n, data in self._owners.pack(most)]


def _checked(packed: bytes, cluster: str) -> _Head:
    """The head; raises ValueError unless it is of this cluster, format and feature schema."""
    fields: dict[str, Any] = msgspec.msgpack.decode(packed)
    found = (fields["format"], fields["cluster"], fields["feature_schema"])
    expected = (FORMAT, cluster, feature_schema_hash())
    if found != expected:
        raise ValueError(f"it is of {found}, expected {expected}")
    return msgspec.msgpack.decode(packed, type=_Head)


def _plain(mark: Mark | None) -> Watermark | None:
    return None if mark is None else _as(Watermark, mark)


def _event_mark(mark: Watermark | None) -> EventWatermark | None:
    return None if mark is None else _as(EventWatermark, mark)


def _as(kind: type[M], mark: Mark) -> M:
    return kind(
        event_time_ms=mark.event_time_ms,
        barrier=mark.barrier,
        run_id=mark.run_id,
        final=mark.final,
    )
