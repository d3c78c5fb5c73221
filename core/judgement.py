"""How one answer compares with the basket that followed; knows nothing of windows or streams.

What counts of it on which surface is in `core/surfaces.py`. An answer that was followed by nothing
to compare with is not judged: it says nothing about which items were wanted.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from core.surfaces import wanted
from schemas.outcomes import JudgedList

K = 10
_DISCOUNTS = tuple(1 / math.log2(position + 1) for position in range(1, K + 1))
_IDEAL = tuple(sum(_DISCOUNTS[:n]) for n in range(K + 1))


class Judgement(NamedTuple):
    """Ranking quality of one list: hit rate at 5 and 10, recall, NDCG and reciprocal rank at 10."""

    hr5: float
    hr10: float
    recall10: float
    ndcg10: float
    mrr10: float


def target(judged: JudgedList) -> Collection[str]:
    """The items that the answer is judged on, empty when it cannot be judged."""
    return wanted(judged.surface, judged.basket, judged.new_basket)


def judge(item_ids: Sequence[str], bought: Collection[str]) -> Judgement | None:
    """The first ten items of a list against what was bought, or None when nothing was.

    NDCG is Järvelin and Kekäläinen 2002 with binary gain.

    >>> verdict = judge(["a", "b", "c"], ["b", "x"])
    >>> verdict.hr10, verdict.recall10, round(verdict.ndcg10, 3), verdict.mrr10
    (1.0, 0.5, 0.387, 0.5)
    >>> judge(["a"], []) is None
    True
    """
    if not bought:
        return None
    bought = set(bought)
    places = [place for place, item in enumerate(item_ids[:K]) if item in bought]
    if not places:
        return Judgement(0.0, 0.0, 0.0, 0.0, 0.0)
    gain = sum(_DISCOUNTS[place] for place in places)
    return Judgement(
        hr5=float(places[0] < 5),
        hr10=1.0,
        recall10=len(places) / len(bought),
        ndcg10=gain / _IDEAL[min(K, len(bought))],
        mrr10=1 / (places[0] + 1),
    )
