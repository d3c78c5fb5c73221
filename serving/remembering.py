"""The live state with a memory: what it computed for a visitor holds until something changes.

Several surfaces and policies ask for the same visitor between two events; the similarity of their
items to the whole catalogue is the dearest part of each answer and the same for all of them.
"""

import numpy as np
from numpy.typing import NDArray

from core.catalogue import Rows
from core.shop_state import Owners, ShopState, Visitors

REMEMBERED = 256
REMEMBERED_SCORES = 8_000_000
"""32 MB, whatever the size of the catalogue."""


class RememberingState(ShopState):
    """Answers exactly as `ShopState` does, at most once per question between two changes."""

    def __init__(
        self,
        *,
        max_cooccurrence_items: int = 8192,
        visitors: Visitors | None = None,
        owners: Owners | None = None,
        history_ms: int = 0,
    ) -> None:
        super().__init__(
            max_cooccurrence_items=max_cooccurrence_items,
            visitors=visitors,
            owners=owners,
            history_ms=history_ms,
        )
        self._scores: dict[tuple[bytes, bytes], NDArray[np.float32]] = {}

    def _changing(self) -> None:
        self._scores.clear()

    def related_by_slot(self, rows: Rows, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `ShopState`; the caller must not write to it."""
        key = (rows.tobytes(), weights.tobytes())
        known = self._scores.get(key)
        if known is None:
            most = min(REMEMBERED, REMEMBERED_SCORES // max(self.cooccurrence.size, 1))
            if len(self._scores) >= most:
                self._scores.clear()
            known = self._scores[key] = super().related_by_slot(rows, weights)
            known.flags.writeable = False
        return known
