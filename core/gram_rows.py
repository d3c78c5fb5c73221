"""Which rows of the co-occurrence matrix a checkpoint has to write, as they were when it began.

A row is copied before its first change while a checkpoint is under way, so that nobody waits for
the whole matrix to be written. It knows slots and numbers, no items and no disk.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Slots = NDArray[np.int64]


class GramRows:
    """Rows changed since the last checkpoint, and those of the one under way.

    >>> rows, gram = GramRows(4), np.zeros((4, 4), np.float32)
    >>> rows.change(gram, np.array([1, 2])); rows.begin(size=3)
    >>> rows.change(gram, np.array([1])); gram[1, 1] = 5.0
    >>> [(slot, row.tolist()) for slot, row in rows.take(gram, 10)]
    [(1, [0.0, 0.0, 0.0]), (2, [0.0, 0.0, 0.0])]
    """

    def __init__(self, max_items: int) -> None:
        self.emptied: list[int] = []
        self._changed = np.zeros(max_items, np.bool_)
        self._left: NDArray[np.bool_] | None = None
        self._ready: list[tuple[int, Floats]] = []
        self._size = 0

    def change(self, gram: Floats, slots: Slots) -> None:
        """These rows are about to change."""
        self._changed[slots] = True
        if self._left is not None:
            for slot in slots[self._left[slots]].tolist():
                self._copy(gram, slot)

    def empty(self, gram: Floats, slot: int) -> None:
        """Row and column of this slot are about to be emptied.

        Rows that are copied from now on lack the column; whoever reads them takes it from the row.
        """
        self.change(gram, np.array([slot]))
        if self._left is not None:
            self.emptied.append(slot)

    def begin(self, size: int) -> None:
        """A checkpoint of the rows as they are now begins; the matrix has this size."""
        self._left, self._changed = self._changed, np.zeros(len(self._changed), np.bool_)
        self._left[size:] = False
        self._size = size

    def take(self, gram: Floats, most: int) -> list[tuple[int, Floats]]:
        """Some of the rows to write as (slot, row of shape (size,)); [] when there are no more."""
        if self._left is not None:
            for slot in self._left.nonzero()[0][: max(most - len(self._ready), 0)].tolist():
                self._copy(gram, slot)
        ready, self._ready = self._ready, []
        return ready

    def end(self) -> None:
        """The checkpoint has been written."""
        self._left = None
        self.emptied = []

    def _copy(self, gram: Floats, slot: int) -> None:
        if self._left is not None:
            self._left[slot] = False
            self._ready.append((slot, gram[slot, : self._size].copy()))
