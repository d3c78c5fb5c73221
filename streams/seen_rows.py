"""Ids that one partition has seen as rows of the store: a row for those of one checkpoint.

A row per id would cost more than the event it belongs to.
"""

from collections.abc import Iterator
from itertools import islice

import msgspec

from core.intake import Remembered
from streams.store import Changes, Store

SEEN, ORDERS = "seen", "orders"
_pack = msgspec.msgpack.Encoder().encode
_ids = msgspec.msgpack.Decoder(list[tuple[str, int]]).decode


class SeenRows:
    """Remembers ids of one kind, and writes down those that are new since the last checkpoint.

    `is_new` remembers an event's id, `is_new_order` a visitor's transaction; False for a repeat.
    """

    def __init__(self, number: int, store: Store, window_ms: int, kind: str = SEEN) -> None:
        self._number = number
        self._kind = kind
        self._window_ms = window_ms
        self._newest_of: dict[str, int] = {}
        self._next = 0
        known: list[tuple[str, int]] = []
        for key, value, newest_ms in sorted(store.rows(number, kind)):
            self._newest_of[key] = newest_ms
            self._next = max(self._next, int(key) + 1)
            known.extend(_ids(value))
        self._remembered = Remembered(window_ms, known=known)
        self._kept = len(self._remembered)
        self.is_new = self._remembered.is_new
        self.is_new_order = self._remembered.is_new_order

    @property
    def conflicts(self) -> int:
        """How many repeated ids came with other content."""
        return self._remembered.conflicts

    def checkpoint(self, changes: Changes) -> Iterator[None]:
        """Freezes how far ids were seen; the iterator adds a row of those that are new.

        Rows of which every id has left the window go.
        """
        fresh = len(self._remembered) - self._kept
        self._remembered.forget()
        self._kept = len(self._remembered)
        horizon_ms = self._remembered.newest_ms - self._window_ms
        for key in [key for key, at_ms in self._newest_of.items() if at_ms < horizon_ms]:
            del self._newest_of[key]
            changes.delete((self._number, self._kind, key))
        return self._write_down(changes, fresh, self._kept)

    def _write_down(self, changes: Changes, count: int, kept: int) -> Iterator[None]:
        later = len(self._remembered) - kept  # seen since it was frozen
        fresh = list(islice(self._remembered.newest_first(), later, later + count))[::-1]
        if fresh:
            key, newest_ms = f"{self._next:020d}", max(at_ms for _, at_ms in fresh)
            changes.put((self._number, self._kind, key), _pack(fresh), newest_ms)
            self._newest_of[key] = newest_ms
            self._next += 1
        yield
