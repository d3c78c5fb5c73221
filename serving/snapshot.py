"""The state on disk: written now and then, so that a restart is fast and outlives retention.

A snapshot names the Kafka cluster it came from; one of another cluster, another format or another
feature schema is no snapshot.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from core.features import feature_schema_hash
from core.shop_state import ShopState
from schemas.errors import Unavailable
from schemas.events import EventWatermark
from schemas.watermarks import Watermark
from serving.merge import Mark
from serving.remembering import RememberingState

FORMAT = 2
EVERY_S = 60.0
# A state written by other code may lack a name or hold another type where this code reads it.
UNREADABLE = (OSError, msgspec.MsgspecError, ValueError, KeyError, TypeError, AttributeError)
Offsets = dict[tuple[str, int], int]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """A state, the next offset of each followed partition, and the barrier it stands at."""

    offsets: Offsets
    mark: Mark | None
    state: ShopState


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    cluster: str
    feature_schema: str
    offsets: list[tuple[str, int, int]]
    mark: Watermark | None
    state: bytes


class SnapshotFile:
    """One file that is replaced whole.

    Args:
        path: the file; its folder is made when it is missing.
        every_s: how often it is worth writing.
    """

    def __init__(self, path: Path, every_s: float = EVERY_S) -> None:
        self.path = path
        self.every_s = every_s
        self._cluster = ""

    def load(self, cluster: str) -> Snapshot | None:
        """The newest snapshot if it is of this cluster, else None; those written next are of it."""
        self._cluster = cluster
        try:
            stored = msgspec.msgpack.decode(self.path.read_bytes(), type=_Stored)
            self._check(stored)
            state = RememberingState.from_bytes(stored.state)
        except FileNotFoundError:
            return None
        except UNREADABLE as error:
            log.warning("left the snapshot %s aside: %s", self.path, error)
            return None
        offsets = {(name, partition): offset for name, partition, offset in stored.offsets}
        return Snapshot(offsets, _event_mark(stored.mark), state)

    def _check(self, stored: _Stored) -> None:
        """Raises ValueError unless the snapshot is of this cluster, format and feature schema."""
        found = (stored.format, stored.cluster, stored.feature_schema)
        expected = (FORMAT, self._cluster, feature_schema_hash())
        if found != expected:
            raise ValueError(f"it is of {found}, expected {expected}")

    def pack(self, snapshot: Snapshot) -> bytes:
        """The snapshot as bytes for `write`."""
        stored = _Stored(
            format=FORMAT,
            cluster=self._cluster,
            feature_schema=feature_schema_hash(),
            offsets=[(name, part, offset) for (name, part), offset in snapshot.offsets.items()],
            mark=_plain_mark(snapshot.mark),
            state=snapshot.state.to_bytes(),
        )
        return msgspec.msgpack.encode(stored)

    def write(self, data: bytes) -> None:
        """Replaces the file; raises Unavailable when the disk refuses."""
        incoming = self.path.with_suffix(".incoming")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with incoming.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            incoming.replace(self.path)
        except OSError as error:
            raise Unavailable(f"the snapshot {self.path} cannot be written: {error}") from error


def _plain_mark(mark: Mark | None) -> Watermark | None:
    if mark is None:
        return None
    return Watermark(
        event_time_ms=mark.event_time_ms,
        barrier=mark.barrier,
        run_id=mark.run_id,
        final=mark.final,
    )


def _event_mark(mark: Watermark | None) -> EventWatermark | None:
    if mark is None:
        return None
    return EventWatermark(
        event_time_ms=mark.event_time_ms,
        barrier=mark.barrier,
        run_id=mark.run_id,
        final=mark.final,
    )
