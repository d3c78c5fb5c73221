"""The co-occurrence matrix as rows of a store, each written beside its last valid copy.

So the rows of a checkpoint can be written one after the other, while the one before stays valid;
`GramHead`, written with what makes the checkpoint valid, says which copy of each row counts.
"""

import struct

import msgspec
import numpy as np

from core.array_packing import pack, unpack
from core.cooccurrence import Cooccurrence
from serving.memory_rows import Rows

_GRAM = b"gram/"


class GramHead(msgspec.Struct, frozen=True, kw_only=True):
    """Which copy of each row is valid and of which count of relations it is (packed arrays).

    `emptied` are the slots whose column some rows lack; the slot's own row has it.
    """

    copies: bytes
    emptied: list[int] = []


class GramKept:
    """The rows of one store."""

    def __init__(self, store: Rows, block: Cooccurrence) -> None:
        self._store = store
        self._block = block
        self._copies = np.zeros(block.max_items, np.uint8)
        self._saved = np.zeros(block.max_items, np.int64)
        self._relations = 0
        self._packed: list[tuple[int, bytes]] = []
        self._written: list[int] = []

    def load(self, head: GramHead) -> None:
        """Fills the block, which knows its slots already."""
        saved = unpack(head.copies)
        self._copies, self._saved = saved["copies"], saved["saved"]
        for slot in range(self._block.size):
            data = self._store.get(self._key(slot, 0))
            if data is not None:
                row = np.frombuffer(data, np.float32)
                self._block.put_row(slot, row, int(self._saved[slot]))
        for slot in (slot for slot in head.emptied if slot < self._block.size):
            self._block.mend(slot)

    def begin(self) -> None:
        """A checkpoint of the matrix as it is now begins; the caller holds the lock."""
        self._block.rows.begin(self._block.size)
        self._relations = self._block.relations

    def pack(self, most: int) -> bool:
        """Takes some rows to be written; False at the end. The caller holds the lock."""
        rows = self._block.rows.take(self._block.gram, most)
        self._packed = [(slot, row.tobytes()) for slot, row in rows]
        return bool(rows)

    def write(self) -> None:
        """Writes what was taken."""
        self._store.write((self._key(slot, 1), row) for slot, row in self._packed)
        self._written += [slot for slot, _ in self._packed]
        self._packed = []

    def head(self) -> GramHead:
        """What says, once it is in the store, that the rows written are the valid ones."""
        self._copies[self._written] ^= 1
        self._saved[self._written] = self._relations
        self._written = []
        copies = pack({"copies": self._copies, "saved": self._saved})
        return GramHead(copies=copies, emptied=list(self._block.rows.emptied))

    def end(self) -> None:
        """The checkpoint is valid; the caller holds the lock."""
        self._block.rows.end()

    def _key(self, slot: int, other: int) -> bytes:
        """The key of a slot's valid copy, or with `other` of the one to be written."""
        return _GRAM + struct.pack(">IB", slot, int(self._copies[slot]) ^ other)
