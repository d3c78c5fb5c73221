"""The visitors of one partition: those used lately in memory, all of them in the store.

While a checkpoint is being written the steps go on. So a visitor whom it has still to write is
written as it was before the first step that changes it.
"""

from collections.abc import Iterator, Mapping

import msgspec

from core.visitor_facts import Visitor
from streams.store import Changes, Store
from streams.warm import Warm

VISITOR = "visitor"
_pack = msgspec.msgpack.Encoder().encode
_visitor = msgspec.msgpack.Decoder(Visitor).decode


class VisitorRows:
    """Visitors by id; `due_of` says when something of a visitor is due, and goes with the row.

    Whoever is about to change a visitor calls `touch` first.
    """

    def __init__(self, number: int, store: Store, most: int, due_of: Mapping[str, int]) -> None:
        self._number = number
        self._store = store
        self._due_of = due_of
        self._known: Warm[Visitor] = Warm(most)
        self._touched: set[str] = set()
        self._left: set[str] = set()
        self._frozen: dict[str, Visitor] = {}
        self._changes = Changes()

    @property
    def changed(self) -> int:
        """How many rows a checkpoint has to write."""
        return len(self._touched)

    def get(self, visitor_id: str) -> Visitor:
        """The visitor, from memory or the store; a new one where nothing is known."""
        visitor = self._known.get(visitor_id)
        if visitor is None:
            value = self._store.get((self._number, VISITOR, visitor_id))
            visitor = Visitor() if value is None else _visitor(value)
            self._known.put(visitor_id, visitor)
        return visitor

    def touch(self, visitor_id: str) -> None:
        """The visitor changes now."""
        self._touched.add(visitor_id)
        if visitor_id in self._frozen:
            self._write(visitor_id, self._frozen.pop(visitor_id))

    def leave(self, visitor_id: str) -> None:
        """The visitor is somebody else's now."""
        self.touch(visitor_id)
        self._touched.discard(visitor_id)
        self._known.put(visitor_id, Visitor())  # the store may have the former one for a while
        self._left.add(visitor_id)

    def checkpoint(self, changes: Changes) -> Iterator[None]:
        """Freezes what changed since the last time; the iterator writes it down bit by bit."""
        for visitor_id in self._left:
            changes.delete((self._number, VISITOR, visitor_id))
        self._left.clear()
        self._changes = changes
        self._frozen = {visitor_id: self.get(visitor_id) for visitor_id in self._touched}
        self._touched.clear()
        self._known.turn()
        return self._write_down()

    def _write_down(self) -> Iterator[None]:
        while self._frozen:
            self._write(*self._frozen.popitem())
            yield

    def _write(self, visitor_id: str, visitor: Visitor) -> None:
        row = (self._number, VISITOR, visitor_id)
        self._changes.put(row, _pack(visitor), self._due_of.get(visitor_id))
