"""The plain policies every figure is printed beside.

They read the same live state, catalogue and filters as the loop and list as many items.
"""

from __future__ import annotations

import numpy as np

from core.candidates import Ask, allowed_rows, related_scores, top_rows, visitor_of
from core.catalogue import Rows
from core.shop_state import ShopState


def popular_7d(state: ShopState, ask: Ask) -> list[str]:
    """The most wanted items of the last seven days."""
    return _names(state, _popular(state, ask)[: ask.k])


def own_items(state: ShopState, ask: Ask) -> list[str]:
    """The visitor's past items by count, then last purchase; filled from `popular_7d`."""
    visitor = visitor_of(state, ask)
    allowed = allowed_rows(state, ask, visitor)
    order = np.lexsort((visitor.rows, -visitor.last_ms, -visitor.counts))
    own = visitor.rows[order]
    own = own[allowed[own]]
    return _names(state, _filled(own, _popular(state, ask), ask.k))


def also_bought(state: ShopState, ask: Ask) -> list[str]:
    """Nearest items by TF-IDF co-occurrence to the visitor's items; filled from `popular_7d`.

    On `discover`, what the visitor has bought is left out.
    """
    visitor = visitor_of(state, ask)
    related = related_scores(state, visitor) * allowed_rows(state, ask, visitor)
    return _names(state, _filled(top_rows(related, ask.k), _popular(state, ask), ask.k))


BASELINES = {"popular_7d": popular_7d, "own_items": own_items, "also_bought": also_bought}


def _popular(state: ShopState, ask: Ask) -> Rows:
    allowed = allowed_rows(state, ask, visitor_of(state, ask))
    week = state.popularity.window(ask.now_ms, 7)[: len(allowed)]
    return top_rows(week * allowed, 2 * ask.k)


def _filled(first: Rows, rest: Rows, k: int) -> Rows:
    if len(first) >= k:
        return first[:k]
    return np.concatenate([first, rest[~np.isin(rest, first)]])[:k]


def _names(state: ShopState, rows: Rows) -> list[str]:
    return [state.catalogue.item_ids[row] for row in rows]
