"""The rows of a state where no disk takes them: in memory, and gone with the process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

Row = tuple[bytes, bytes | None]


class Rows(Protocol):
    """Where the rows of a state are kept."""

    path: Path

    @property
    def is_on_disk(self) -> bool:
        """Whether the next start finds what was written."""

    @property
    def free_bytes(self) -> float:
        """How much more it can hold."""

    def get(self, key: bytes) -> bytes | None:
        """What a row holds."""

    def write(self, rows: Iterable[Row]) -> None:
        """Carries out all or nothing; None removes a row."""

    def under(self, head: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Rows whose keys begin with `head`, by key, from `head + start` on."""

    def clear(self) -> None:
        """Removes every row."""

    def close(self) -> None:
        """Lets go of it."""


class MemoryRows:
    """Rows of one process; packed, so that shoppers take a tenth of what they do unpacked.

    Args:
        path: where they should have been.
    """

    is_on_disk = False
    free_bytes = float("inf")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        """What a row holds."""
        return self._rows.get(key)

    def write(self, rows: Iterable[Row]) -> None:
        """Carries out all."""
        for key, value in rows:
            if value is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = value

    def under(self, head: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Rows whose keys begin with `head`, by key, from `head + start` on."""
        found = [key for key in self._rows if key.startswith(head) and key >= head + start]
        return ((key, self._rows[key]) for key in sorted(found))

    def clear(self) -> None:
        """Removes every row."""
        self._rows.clear()

    def close(self) -> None:
        """Nothing is left to be closed."""
