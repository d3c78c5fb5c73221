"""What one answer to a query teaches: what was chosen, and what the shopper saw and passed over.

A slot above a chosen one was looked at and left; below the last chosen one nobody can say. Source:
Joachims 2002 ("Optimizing Search Engines using Clickthrough Data"), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SKIPPED, CLICKED, CARTED, BOUGHT = 0.0, 1.0, 2.0, 3.0
GRADES = {
    "select_item": CLICKED,
    "view_item": CLICKED,
    "add_to_cart": CARTED,
    "purchase": BOUGHT,
}
LARGEST_WEIGHT = 20.0
"""Bound of 1 / propensity: rarer slots would rule the loss by themselves."""


class Taught(NamedTuple):
    """The grade of one product for the query that was asked, and what it counts."""

    item_id: str
    grade: float
    weight: float


def taught(
    item_ids: Sequence[str], kinds: Sequence[str | None], propensities: Sequence[float]
) -> list[Taught]:
    """Chosen slots by what was done with them, and those above the last chosen one as skipped.

    `kinds` says per slot the strongest interaction, None for nothing; another kind, such as a
    purchase taken back, leaves its slot out. An answer in which nothing was chosen teaches
    nothing. Each slot counts 1 / propensity, at most `LARGEST_WEIGHT`.

    >>> taught(["a", "b", "c"], [None, "select_item", None], [1.0, 0.5, 1.0])
    [Taught(item_id='a', grade=0.0, weight=1.0), Taught(item_id='b', grade=1.0, weight=2.0)]
    >>> taught(["a"], [None], [1.0])
    []
    """
    chosen = [place for place, kind in enumerate(kinds) if kind in GRADES]
    if not chosen:
        return []
    return [
        Taught(item_ids[i], SKIPPED if kind is None else GRADES[kind], _weight(propensities[i]))
        for i, kind in enumerate(kinds[: chosen[-1] + 1])
        if kind is None or kind in GRADES
    ]


def _weight(propensity: float) -> float:
    return min(LARGEST_WEIGHT, 1.0 / max(propensity, 1.0 / LARGEST_WEIGHT))
