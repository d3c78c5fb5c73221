"""What a shop's state holds beside histories and names, as plain values and arrays, and back.

It knows which parts there are, not where they are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.catalogue import Catalogue
from core.recent_baskets import RecentBaskets
from core.relations import Relations

if TYPE_CHECKING:
    from core.shop_state import ShopState


def parts_of(state: ShopState) -> dict[str, Any]:
    """Everything but histories, names and the co-occurrence matrix; arrays are the state's own."""
    return {
        "seen_ms": state.seen_ms,
        "max_cooccurrence_items": state.cooccurrence.max_items,
        "catalogue": state.catalogue.to_dict(),
        "relations": state.relations.to_dict(),
        "buckets": state.popularity.buckets,
        "slots": _slots(state),
        "recent": state.recent.to_list(),
    }


def put_parts(state: ShopState, parts: dict[str, Any]) -> None:
    """Gives an empty state what `parts_of` described; the co-occurrence matrix is empty."""
    state.seen_ms = parts["seen_ms"]
    state.catalogue = Catalogue.from_dict(parts["catalogue"])
    state.relations = Relations.from_dict(parts["relations"])
    state.make_room()
    state.popularity.buckets = parts["buckets"]
    state.recent = RecentBaskets.from_list(parts["recent"])
    _put_slots(state, parts["slots"])


def _slots(state: ShopState) -> dict[str, Any]:
    """Which item has which place in the co-occurrence block, and since when."""
    block = state.cooccurrence
    return {
        "rows": state.row_of_slot[: block.size],
        "admitted": block.admitted[: block.size],
        "touched": block.touched[: block.size],
        "relations": block.relations,
    }


def _put_slots(state: ShopState, saved: dict[str, Any]) -> None:
    rows = saved["rows"]
    state.cooccurrence.restore(saved["admitted"], saved["touched"], saved["relations"])
    state.row_of_slot[: len(rows)] = rows
    state.slot_of[rows] = np.arange(len(rows))
