"""The shop's newest baskets, and which items are in those most like one shopper's.

Popularity as seen from one shopper: each recent basket of others counts by what it shares with the
shopper's own items, rare ones most. It knows names and catalogue rows, no items and no clock.

*Source:* Hu, He, Gao, Zhang, Modeling Personalized Item Frequency Information for Next-basket
Recommendation (TIFU-KNN), SIGIR 2020, 4.3: neighbours beside the shopper's own frequencies; here
the neighbours are single recent baskets, so that trends reach whom they concern within the day.
"""

from __future__ import annotations

from collections import deque
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
        self._flat: tuple[Rows, Rows, NDArray[np.int64]] | None = None

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

    def forget(self, owner: str) -> None:
        """Leaves out what was this owner's."""
        self.baskets = deque((each for each in self.baskets if each[0] != owner), KEPT_BASKETS)
        self._flat = None

    def scores(self, owner: str, wanted: Floats) -> Floats:
        """How much each item is in baskets like the owner's, most alike 1, shape of `wanted`.

        `wanted` holds what each item says of the owner; the owner's own baskets do not count.
        """
        if not self.baskets:
            return np.zeros_like(wanted)
        rows, starts, lengths = self._flattened()
        alike = np.add.reduceat(wanted[rows], starts) / np.sqrt(lengths + _DAMPING)
        alike[[i for i, (name, _) in enumerate(self.baskets) if name == owner]] = 0.0
        top = float(alike.max())
        if top <= 0.0:
            return np.zeros_like(wanted)
        found = np.bincount(rows, np.repeat(alike / top, lengths), len(wanted))
        return np.asarray(found, np.float32)

    def to_list(self) -> list[Any]:
        """Everything held, as plain values and arrays."""
        return [[owner, rows] for owner, rows in self.baskets]

    @classmethod
    def from_list(cls, saved: list[Any]) -> RecentBaskets:
        """The baskets that `to_list` described."""
        recent = cls()
        recent.baskets.extend((owner, rows) for owner, rows in saved)
        return recent

    def _flattened(self) -> tuple[Rows, Rows, NDArray[np.int64]]:
        """All rows on end, where each basket begins, and how long it is."""
        if self._flat is None:
            lengths = np.array([len(rows) for _, rows in self.baskets], np.int64)
            rows = np.concatenate([rows for _, rows in self.baskets])
            self._flat = rows, np.cumsum(lengths) - lengths, lengths
        return self._flat
