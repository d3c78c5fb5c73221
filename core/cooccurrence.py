"""Item-to-item similarity by who bought what: TF-IDF over visitors, cosine between items.

The Gram matrix of the weighted visitor columns is kept exactly: when a visitor's basket of a
lifetime changes, their old contribution is taken out and the new one put in. Weights are whole
numbers (sixteenths), so sums are exact in float32 up to 2**24, their order does not matter, and a
rebuilt matrix equals the grown one. It knows slots and weights, no items, visitors or time.

*Source:* implicit, `TFIDFRecommender` (`tfidf_weight`: sqrt of the count times the log of
items over visitor's items; rows then normalised to length one).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.gram_rows import GramRows

WEIGHT_SCALE = 16.0
_FIRST_CAPACITY = 512
_IDF_STEPS_PER_OCTAVE = 4

Floats = NDArray[np.float32]
Slots = NDArray[np.int64]


def visitor_weights(counts: Floats, catalogue_size: int) -> Floats:
    """Whole-number TF-IDF weights of one visitor's items, shape of `counts`.

    The number of items is rounded to a quarter of an octave before the logarithm, so that a long
    history does not change all its weights with every basket.

    >>> visitor_weights(np.array([1.0, 4.0], np.float32), 8192).tolist()
    [127.0, 253.0]
    """
    octaves = np.round(np.log2(len(counts)) * _IDF_STEPS_PER_OCTAVE) / _IDF_STEPS_PER_OCTAVE
    idf = max(np.log(catalogue_size) - np.log1p(2.0**octaves), 0.1)
    return np.asarray(np.rint(np.sqrt(counts) * (idf * WEIGHT_SCALE)), np.float32)


class Cooccurrence:
    """A dense symmetric block that doubles as items are admitted, up to `max_items`.

    A full block gives the slot that was not touched for longest to the next item. A contribution
    to a slot is there only when it was made after the slot's admission: `relations` counts what
    was put in, `admitted` (by slot) says at which count the slot was given to its item.
    """

    def __init__(self, max_items: int) -> None:
        self.max_items = max_items
        self.size = 0
        self.relations = 0
        self.gram: Floats = np.zeros((0, 0), np.float32)
        self.squares: Floats = np.zeros(0, np.float32)  # the diagonal, side by side
        self.admitted: Slots = np.zeros(0, np.int64)
        self.touched: Slots = np.zeros(0, np.int64)
        self.rows = GramRows(max_items)
        self._gathered: Floats = np.zeros((0, 0), np.float32)  # where `scores` gathers rows
        self._inverses: Floats | None = None  # of `squares`, until these change

    def admit(self) -> int:
        """A slot without contributions: the next free one, or the one left alone for longest."""
        if self.size < self.max_items:
            if self.size == len(self.gram):
                self._grow(self.size + 1)
            slot = self.size
            self.size += 1
        else:
            slot = int(self.touched.argmin())
            self._empty(slot)
        self.admitted[slot] = self.touched[slot] = self.relations
        return slot

    def replace(self, slots: Slots, old: Floats, new: Floats) -> None:
        """Swaps one visitor's contribution: weights `old` become `new` on these distinct slots."""
        present = (old != 0) | (new != 0)
        slots, old, new = slots[present], old[present], new[present]
        changed = np.flatnonzero(old != new)
        if not len(changed):
            return
        self.rows.change(self.gram, slots)
        self._inverses = None
        self.squares[slots] += new * new - old * old
        if 2 * len(changed) > len(slots):
            change = np.multiply.outer(new, new) - np.multiply.outer(old, old)
            self.gram[slots[:, None], slots] += change
            return
        rest = np.flatnonzero(old == new)
        change = np.multiply.outer(new[changed], new) - np.multiply.outer(old[changed], old)
        self.gram[slots[changed][:, None], slots] += change
        self.gram[slots[rest][:, None], slots[changed]] += change[:, rest].T

    def scores(self, slots: Slots, weights: Floats) -> Floats:
        """Weighted sum of cosines to these slots, for every admitted slot, shape (size,)."""
        inverse = self._inverse()[: self.size]
        if self._gathered.shape < (len(slots), len(self.gram)):
            self._gathered = np.empty((len(slots), len(self.gram)), np.float32)
        gathered = self._gathered[: len(slots), : len(self.gram)]
        self.gram.take(slots, axis=0, out=gathered, mode="clip")
        found = (weights * inverse[slots]) @ gathered[:, : self.size] * inverse
        return np.asarray(found, dtype=np.float32)

    def scores_of(self, slots: Slots, weights: Floats, wanted: Slots) -> Floats:
        """As `scores`, of the wanted slots only, but for rounding; shape of `wanted`."""
        inverse, gathered = self._inverse(), self.gram[slots[:, None], wanted]
        found = (weights * inverse[slots]) @ gathered
        return np.asarray(found * inverse[wanted], dtype=np.float32)

    def restore(self, admitted: Slots, touched: Slots, relations: int) -> None:
        """Begins with these slots, without contributions."""
        if len(admitted):
            self._grow(len(admitted))
        self.size, self.relations = len(admitted), relations
        self.admitted[: self.size] = admitted
        self.touched[: self.size] = touched

    def put_row(self, slot: int, row: Floats, relations: int) -> None:
        """Puts back one row as it was saved at this count; the diagonal follows."""
        since = self.admitted[: len(row)] > relations
        self.gram[slot, : len(row)] = np.where(since, np.float32(0), row)
        self.squares[slot] = self.gram[slot, slot]
        self._inverses = None

    def mend(self, slot: int) -> None:
        """Takes a column that was emptied while its row was saved from that row."""
        self.rows.change(self.gram, np.flatnonzero(self.gram[slot]))
        self.gram[:, slot] = self.gram[slot]

    def _inverse(self) -> Floats:
        """One over the length of each slot's column, 0 for an empty one; not to be written to."""
        if self._inverses is None:
            norms = np.sqrt(self.squares)
            self._inverses = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
        return self._inverses

    def _empty(self, slot: int) -> None:
        """Takes every contribution out of a slot."""
        self.rows.empty(self.gram, slot)
        # A column lies far apart in memory and is mostly zero: the row says where it is not.
        near = np.flatnonzero(self.gram[slot] != 0)
        self.gram[near, slot] = 0.0
        self.gram[slot] = 0.0
        self.squares[slot] = 0.0
        self._inverses = None

    def _grow(self, least: int) -> None:
        capacity = max(_FIRST_CAPACITY, 2 * len(self.gram))
        while capacity < least:
            capacity *= 2
        capacity, size = min(capacity, self.max_items), self.size
        larger = np.zeros((capacity, capacity), np.float32)
        larger[:size, :size] = self.gram[:size, :size]
        self.gram = larger
        self.squares = np.ascontiguousarray(larger.diagonal())
        self._inverses = None
        more = np.zeros(capacity - len(self.admitted), np.int64)
        self.admitted = np.concatenate([self.admitted, more])
        self.touched = np.concatenate([self.touched, more])
