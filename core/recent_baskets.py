"""The shop's newest baskets, and which items are in those most like one shopper's.

Popularity as seen from one shopper: each recent basket of others counts by what it shares with the
shopper's own items, rare ones most. It knows names and catalogue rows, no items and no clock.

*Source:* Hu, He, Gao, Zhang, Modeling Personalized Item Frequency Information for Next-basket
Recommendation (TIFU-KNN), SIGIR 2020, 4.3: neighbours beside the shopper's own frequencies; here
the neighbours are single recent baskets, so that trends reach whom they concern within the day.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEPT_BASKETS = 512
_DAMPING = 3.0

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


class RecentBaskets:
    """The newest 512 baskets with their owners.

    >>> recent = RecentBaskets()
    >>> recent.add("ann", np.array([0, 1]))
    >>> recent.add("bob", np.array([0, 2]))
    >>> recent.scores("bob", np.array([1.0, 0.0, 0.0, 0.0], np.float32)).tolist()
    [1.0, 1.0, 0.0, 0.0]
    """

    def __init__(self) -> None:
        self.baskets: deque[tuple[str, Rows]] = deque(maxlen=KEPT_BASKETS)
        self._flat: _Flat | None = None

    def add(self, owner: str, rows: Rows) -> None:
        """Takes in one basket of distinct rows."""
        self.baskets.append((owner, rows))
        self._flat = None

    def rename(self, source: str, goal: str) -> None:
        """What was one owner's is another's."""
        self.baskets = deque(
            ((goal if owner == source else owner, rows) for owner, rows in self.baskets),
            KEPT_BASKETS,
        )
        self._flat = None

    def forget(self, owner: str) -> None:
        """Leaves out what was this owner's."""
        self.baskets = deque((each for each in self.baskets if each[0] != owner), KEPT_BASKETS)
        self._flat = None

    def scores(self, owner: str, wanted: Floats) -> Floats:
        """How much each item is in baskets like the owner's, most alike 1, shape of `wanted`.

        `wanted` holds what each item says of the owner; the owner's own baskets do not count.
        """
        rows = np.arange(len(wanted))
        return self.scores_of(owner, rows, wanted, rows)

    def scores_of(self, owner: str, own: Rows, wanted: Floats, rows: Rows) -> Floats:
        """As `scores`, of some rows only; `wanted`, shape of `own`, is of the owner's items."""
        nothing = np.zeros(len(rows), np.float32)
        if not self.baskets:
            return nothing
        flat = self._flattened()
        by_place = flat.at(own, wanted)[flat.places]
        alike = np.add.reduceat(by_place, flat.starts) / np.sqrt(flat.lengths + _DAMPING)
        alike[flat.owned.get(owner, [])] = 0.0
        top = float(alike.max())
        if top <= 0.0:
            return nothing
        found = np.bincount(flat.places, np.repeat(alike / top, flat.lengths), len(flat.rows))
        at, is_there = flat.find(rows)
        nothing[is_there] = found[at[is_there]]
        return nothing

    def to_list(self) -> list[Any]:
        """Everything held, as plain values and arrays."""
        return [[owner, rows] for owner, rows in self.baskets]

    @classmethod
    def from_list(cls, saved: list[Any]) -> RecentBaskets:
        """The baskets that `to_list` described."""
        recent = cls()
        recent.baskets.extend((owner, rows) for owner, rows in saved)
        return recent

    def _flattened(self) -> _Flat:
        if self._flat is None:
            self._flat = _Flat(self.baskets)
        return self._flat


class _Flat:
    """All baskets on end: the distinct rows, which of them is where, where each basket begins."""

    def __init__(self, baskets: Sequence[tuple[str, Rows]]) -> None:
        self.lengths = np.array([len(rows) for _, rows in baskets], np.int64)
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.rows, self.places = np.unique(
            np.concatenate([rows for _, rows in baskets]), return_inverse=True
        )
        self.owned: dict[str, list[int]] = {}
        for number, (owner, _) in enumerate(baskets):
            self.owned.setdefault(owner, []).append(number)

    def find(self, rows: Rows) -> tuple[Rows, NDArray[np.bool_]]:
        """Where each of these is among the distinct rows, and whether it is there."""
        at = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return at, self.rows[at] == rows

    def at(self, own: Rows, wanted: Floats) -> Floats:
        """What the distinct rows say of the owner, 0 for what is not the owner's."""
        found = np.zeros(len(self.rows), np.float32)
        at, is_there = self.find(own)
        found[at[is_there]] = wanted[is_there]
        return found
