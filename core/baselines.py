"""The plain policies every figure is printed beside.

They start from the same ground as the loop: live state, catalogue and filters; they list as many
items.
"""

from __future__ import annotations

import numpy as np

from core.candidates import Ground
from core.catalogue import Rows


def popular_7d(ground: Ground) -> list[str]:
    """The most wanted items of the last seven days."""
    return _names(ground, ground.popular[: ground.ask.k])


def own_items(ground: Ground) -> list[str]:
    """The visitor's past items by count, then last purchase; filled from `popular_7d`."""
    return _names(ground, _filled(ground.own, ground))


def also_bought(ground: Ground) -> list[str]:
    """Nearest items by TF-IDF co-occurrence to the visitor's items; filled from `popular_7d`.

    On `discover`, what the visitor has bought is left out.
    """
    return _names(ground, _filled(ground.near, ground))


BASELINES = {"popular_7d": popular_7d, "own_items": own_items, "also_bought": also_bought}


def _filled(first: Rows, ground: Ground) -> Rows:
    k = ground.ask.k
    if len(first) >= k:
        return first[:k]
    rest = ground.popular[: 2 * k]
    return np.concatenate([first, rest[~np.isin(rest, first)]])[:k]


def _names(ground: Ground, rows: Rows) -> list[str]:
    item_ids = ground.state.catalogue.item_ids
    return [item_ids[row] for row in rows.tolist()]
