"""The live state with a memory: what it computed for a visitor holds until something changes.

Several surfaces and policies ask for the same visitor between two events; the similarity of their
items to the whole catalogue is the dearest part of each answer and the same for all of them.
"""

from collections.abc import Sequence

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

    def apply(self, visitor_id: str, kind: str, item_ids: Sequence[str], at_ms: int) -> None:
        """Takes in one interaction and forgets what was computed before it."""
        self._scores.clear()
        super().apply(visitor_id, kind, item_ids, at_ms)

    def put_item(
        self,
        item_id: str,
        title: str,
        price: float | None,
        at_ms: int,
        available: bool = True,
        *,
        category: str = "",
        stock: int | None = None,
        compatible_with: Sequence[str] = (),
        substitute_of: Sequence[str] = (),
    ) -> None:
        """Takes in an item and forgets what was computed before it."""
        self._scores.clear()
        super().put_item(
            item_id,
            title,
            price,
            at_ms,
            available,
            category=category,
            stock=stock,
            compatible_with=compatible_with,
            substitute_of=substitute_of,
        )

    def join(self, source: str, goal: str) -> None:
        """Joins two histories and forgets what was computed before."""
        self._scores.clear()
        super().join(source, goal)

    def drop(self, visitor_id: str) -> None:
        """Drops a history and forgets what was computed before."""
        self._scores.clear()
        super().drop(visitor_id)

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
