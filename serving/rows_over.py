"""The rows of a state whose disk may begin to refuse: from then on newer ones are in memory.

What the disk holds by then is still read, where it can be, and is what the next start finds.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

from schemas.errors import Unavailable
from serving.memory_rows import MemoryRows, Row, Rows

T = TypeVar("T")

log = logging.getLogger(__name__)


class RowsOver:
    """`get` may be called by any thread, all else by one.

    Args:
        disk: where rows are while it takes them.
    """

    def __init__(self, disk: Rows) -> None:
        self.path = disk.path
        self.is_on_disk = True
        self._disk = disk
        self._newer: dict[bytes, bytes | None] = {}

    @property
    def free_bytes(self) -> float:
        """How much more it can hold."""
        try:
            return self._disk.free_bytes if self.is_on_disk else float("inf")
        except OSError as error:
            return self._refused(error, float("inf"))

    def get(self, key: bytes) -> bytes | None:
        """What a row holds; None where the disk cannot say."""
        if key in self._newer:
            return self._newer[key]
        try:
            return self._disk.get(key)
        except Unavailable as error:
            return self._refused(error, None)

    def write(self, rows: Iterable[Row]) -> None:
        """Carries out all or nothing; None removes a row."""
        wanted = list(rows)
        if self.is_on_disk:
            try:
                self._disk.write(wanted)
                return
            except Unavailable as error:
                self._refused(error, None)
        self._newer.update(wanted)

    def under(self, head: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Rows whose keys begin with `head`, by key, from `head + start` on."""
        newer = {
            key: value
            for key, value in self._newer.items()
            if key.startswith(head) and key >= head + start
        }
        below = (row for row in self._below(head, start) if row[0] not in newer)
        above = sorted((key, value) for key, value in newer.items() if value is not None)
        return heapq.merge(below, above)

    def clear(self) -> None:
        """Removes every row."""
        self._newer = {}
        try:
            self._disk.clear()
        except (Unavailable, OSError) as error:
            self._refused(error, None)
            self.close()
            self._disk = MemoryRows(self.path)

    def close(self) -> None:
        """Closes it; what was written to the disk stays."""
        with suppress(Unavailable):  # it refuses
            self._disk.close()

    def _below(self, head: bytes, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        try:
            yield from self._disk.under(head, start)
        except Unavailable as error:
            self._refused(error, None)

    def _refused(self, error: Exception, instead: T) -> T:
        """Notes that the disk refuses."""
        if self.is_on_disk:
            log.error("the state is kept in memory alone until the next start: %s", error)
        self.is_on_disk = False
        return instead
