"""The files of a spool's folder: its lock, its name, the note of what is done, and its segments."""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from core.framing import frames
from schemas.errors import BadSettings
from schemas.ids import new_id

_SUFFIX = ".spool"
_NUMBER = struct.Struct("<Q")
_NOTE = struct.Struct("<QI")

log = logging.getLogger(__name__)


@dataclass
class Segment:
    """A file of frames: the number of its first, how many there are, and their bytes."""

    path: Path
    first: int
    count: int = 0
    size_bytes: int = 0

    @property
    def end(self) -> int:
        """The number after the last."""
        return self.first + self.count


def held(folder: Path) -> int:
    """A descriptor that holds the folder for this process; the system lets go with the process.

    Raises:
        BadSettings: another process holds it.
    """
    file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise BadSettings(
            f"{folder} is in use: each serving process needs a --name of its own"
        ) from error
    return file


def name_of(folder: Path) -> str:
    """A name that no other spool has, the same for as long as the folder lives."""
    file = folder / "name"
    if not file.exists():
        draft = folder / "name.draft"
        draft.write_text(new_id())
        draft.replace(file)
    return file.read_text().strip()


def begun(folder: Path, first: int) -> Segment:
    """A new, empty segment."""
    path = folder / f"{first:020d}{_SUFFIX}"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    return Segment(path, first)


def found(folder: Path) -> list[Segment]:
    """The segments of a folder in order, at least one; what follows their last whole frame is cut.

    A kill can leave the last frame of the last segment torn: its reply was never given.
    """
    paths = sorted(folder.glob(f"*{_SUFFIX}"))
    return [_whole(path) for path in paths] or [begun(folder, 0)]


def _whole(path: Path) -> Segment:
    data = path.read_bytes()
    sizes = [frame.size_bytes for frame in frames(data)]
    segment = Segment(path, int(path.name.removesuffix(_SUFFIX)), len(sizes), sum(sizes))
    if segment.size_bytes < len(data):
        torn = len(data) - segment.size_bytes
        log.warning("%s: the last %d bytes are not whole and were cut", path.name, torn)
        os.truncate(path, segment.size_bytes)
    return segment


class DoneNote:
    """The number below which all is done, in a file of its own; overwritten in place."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / "done", os.O_RDWR | os.O_CREAT, 0o600)

    def read(self) -> int:
        """The number noted, 0 when there is none that is whole."""
        data = os.pread(self._file, _NOTE.size, 0)
        if len(data) < _NOTE.size:
            return 0
        number, check = _NOTE.unpack(data)
        return int(number) if zlib.crc32(_NUMBER.pack(number)) == check else 0

    def write(self, number: int) -> None:
        """Notes the number."""
        os.pwrite(self._file, _NOTE.pack(number, zlib.crc32(_NUMBER.pack(number))), 0)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)
