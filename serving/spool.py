"""A bounded queue of payloads in files: what is put survives the process and waits to be done with.

Payloads are numbered from 0 for as long as the folder lives. They lie end to end in segments; a
segment is named after its first number and deleted once all of it is done. One process uses a
folder at a time. It knows neither what a payload holds nor where it goes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from core.framing import framed, frames
from schemas.codec import MAX_SENT_BYTES
from schemas.errors import Unavailable
from serving.spool_files import DoneNote, Segment, begun, found, held, name_of

SEGMENT_BYTES = 16 * 2**20
READ_BYTES = 4 * 2**20


class DiskRefuses(Unavailable):
    """The disk is full, or cannot be written."""


@dataclass(frozen=True)
class Taken:
    """Payloads in order; `first` numbers the first of them, `end` would be the next."""

    first: int
    payloads: list[bytes]
    size_bytes: int
    newest_ms: int

    @property
    def end(self) -> int:
        """The number after the last."""
        return self.first + len(self.payloads)


@dataclass(frozen=True)
class Waiting:
    """What is not done: payloads, bytes, and when the oldest came (0 when there is none)."""

    records: int
    size_bytes: int
    oldest_ms: int


class Spool:
    """`append` and `waiting` may be called by any thread, all else by the one that takes.

    Args:
        folder: made if missing.
        limit_bytes: most that may wait.
        fsync: whether `append` returns only once the disk has it: safe from a loss of power.
        segment_bytes: size from which a new segment is begun.

    Raises:
        BadSettings: another process uses the folder.
        DiskRefuses: the folder cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        limit_bytes: int,
        *,
        fsync: bool = False,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._fsync = fsync
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._torn = False  # whether the newest segment ends in something that was not taken
        with ExitStack() as undone:
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._held = held(folder)
                undone.callback(os.close, self._held)  # else the next attempt finds it in use
                self.name = name_of(folder)
                self._note = DoneNote(folder)
                undone.callback(self._note.close)
                self._segments = found(folder)
                self._file = os.open(self._segments[-1].path, os.O_WRONLY | os.O_APPEND)
                undone.callback(os.close, self._file)
                self._done = self._segments[0].first
                self._place = 0  # bytes of the first segment that are done
                self._waiting_bytes = sum(each.size_bytes for each in self._segments)
                self._oldest_ms = 0
                self.skip_to(min(self._note.read(), self.end))
            except OSError as error:
                raise DiskRefuses(f"spool {folder}: {error}") from error
            undone.pop_all()

    @property
    def end(self) -> int:
        """The number that the next payload will have."""
        return self._segments[-1].end

    @property
    def waiting(self) -> Waiting:
        """What is not done yet."""
        with self._lock:
            oldest_ms = self._oldest_ms if self.end > self._done else 0
            return Waiting(self.end - self._done, self._waiting_bytes, oldest_ms)

    def append(self, payloads: Sequence[bytes], at_ms: int) -> None:
        """Puts the payloads at the end, all or none; they are safe from a kill when it returns.

        Raises:
            Unavailable: the spool is full, or a payload is above the bound.
            DiskRefuses: the disk is full.
        """
        if any(len(payload) > MAX_SENT_BYTES for payload in payloads):
            raise Unavailable(f"a record is above {MAX_SENT_BYTES} bytes")
        data = b"".join(framed(payload, at_ms) for payload in payloads)
        with self._lock:
            if self._waiting_bytes + len(data) > self._limit_bytes:
                raise Unavailable(f"the spool is full: {self._waiting_bytes} bytes wait for Kafka")
            try:
                self._write(data)
            except OSError as error:
                raise DiskRefuses(f"the spool cannot be written: {error}") from error
            if self.end == self._done:
                self._oldest_ms = at_ms
            self._segments[-1].count += len(payloads)
            self._segments[-1].size_bytes += len(data)
            self._waiting_bytes += len(data)

    def take(self, at_most: int = 1_000) -> Taken | None:
        """The oldest payloads that are not done, in order; None when all are.

        Raises:
            Unavailable: the disk gives back something else than what was put.
        """
        with self._lock:
            self._drop_finished()
            segment, place = self._segments[0], self._place
            size_bytes = min(segment.size_bytes - place, READ_BYTES)
            first = self._done
        if size_bytes == 0:
            return None
        with segment.path.open("rb") as file:
            data = os.pread(file.fileno(), size_bytes, place)
        whole = list(islice(frames(data), at_most))
        if not whole:
            raise Unavailable(f"{segment.path} is damaged at byte {place}")
        self._oldest_ms = whole[0].at_ms
        return Taken(
            first,
            [frame.payload for frame in whole],
            sum(frame.size_bytes for frame in whole),
            whole[-1].at_ms,
        )

    def done(self, taken: Taken) -> None:
        """What was taken need not be kept; to be called with what `take` gave last."""
        with self._lock:
            self._done = taken.end
            self._place += taken.size_bytes
            self._waiting_bytes -= taken.size_bytes
            self._oldest_ms = taken.newest_ms
            self._drop_finished()
        with suppress(OSError):  # the broker knows it, too
            self._note.write(self._done)

    def skip_to(self, number: int) -> None:
        """All below this number is done. A number not given out yet will be the next one."""
        while self._done < min(number, self.end):
            taken = self.take(min(number - self._done, 1_000))
            assert taken is not None
            self.done(taken)
        with self._lock:
            if number > self.end:
                self._begin(number)
                self._drop_finished()

    def close(self) -> None:
        """Lets go of the folder; what waits stays."""
        self._note.close()
        os.close(self._file)
        os.close(self._held)

    def _write(self, data: bytes) -> None:
        if self._segments[-1].size_bytes >= self._segment_bytes:
            self._begin(self.end)
        size_bytes = self._segments[-1].size_bytes
        if self._torn:
            self._cut(size_bytes)
        self._torn = True
        try:
            written = os.write(self._file, data)
            if self._fsync:
                os.fsync(self._file)
            if written < len(data):
                raise OSError("the disk is full")
        except OSError:
            self._cut(size_bytes)
            raise
        self._torn = False

    def _cut(self, size_bytes: int) -> None:
        """Takes back what was written in vain; where the disk refuses that, too, later."""
        os.ftruncate(self._file, size_bytes)
        self._torn = False

    def _begin(self, first: int) -> None:
        segment = begun(self._folder, first)
        # Opened before the other is closed: where none can be opened (a process has only so many),
        # the number of a closed one would soon be a caller's connection, and be written to.
        former, self._file = self._file, os.open(segment.path, os.O_WRONLY | os.O_APPEND)
        os.close(former)
        self._torn = False
        self._segments.append(segment)

    def _drop_finished(self) -> None:
        """Deletes segments that are done with; the newest stays: its name says the next number."""
        while len(self._segments) > 1 and self._place >= self._segments[0].size_bytes:
            gone: Segment = self._segments.pop(0)
            with suppress(OSError):  # then the next start finds it, and skips it
                gone.path.unlink(missing_ok=True)
            self._place = 0
            self._done = self._segments[0].first
