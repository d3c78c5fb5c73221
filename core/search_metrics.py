"""Measures of one ranked result list against graded judgements.

Every measure takes the scores, not an order: products with equal scores count with the value they
would have on average over all orders of the tie, so no measure depends on how rows came in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def gains(grades: ArrayLike) -> Floats:
    """The gain of each grade, 2^grade - 1; grade 0 is worth nothing.

    Source: Burges et al. 2005 ("Learning to Rank using Gradient Descent"), section 6.

    >>> gains([0, 1, 4]).tolist()
    [0.0, 1.0, 15.0]
    """
    return np.exp2(np.asarray(grades, dtype=np.float64)) - 1.0


def ndcg(scores: ArrayLike, grades: ArrayLike, k: int = 10) -> float | None:
    """Discounted gain of the first k over that of the best order; None when nothing has a gain.

    Source: Järvelin and Kekäläinen 2002; ties by expectation, McSherry and Najork 2008.

    >>> ndcg([3, 2, 1], [2, 1, 0])
    1.0
    >>> round(ndcg([1, 2, 3], [2, 1, 0]), 3)
    0.587
    >>> ndcg([1, 1], [0, 0]) is None
    True
    """
    gain = gains(grades)
    best = _discounted(np.sort(gain)[::-1], k)
    if best <= 0.0:
        return None
    return min(1.0, _discounted(_expected(np.asarray(scores, dtype=np.float64), gain), k) / best)


def recall(scores: ArrayLike, relevant: ArrayLike, k: int = 100) -> float | None:
    """Share of the relevant that are among the first k; None when none is relevant.

    >>> recall([3, 2, 1], [True, False, True], k=2)
    0.5
    """
    wanted = np.asarray(relevant, dtype=np.float64)
    if not wanted.sum():
        return None
    found = _expected(np.asarray(scores, dtype=np.float64), wanted)[:k].sum()
    return min(1.0, float(found / wanted.sum()))


def reciprocal_rank(scores: ArrayLike, relevant: ArrayLike) -> float | None:
    """One over the place of the first relevant product; None when none is relevant.

    >>> reciprocal_rank([3, 2, 1], [False, True, True])
    0.5
    >>> reciprocal_rank([1, 1], [False, True])
    0.75
    """
    score, wanted = np.asarray(scores, dtype=np.float64), np.asarray(relevant, dtype=np.bool_)
    if not wanted.any():
        return None
    first = score[wanted].max()
    before, tied = int((score > first).sum()), score == first
    return _first_of_tie(before, int(tied.sum()), int((tied & wanted).sum()))


def _first_of_tie(before: int, size: int, hits: int) -> float:
    """Mean of 1/place of the first hit over all orders of a tie that begins after `before`."""
    mean, none_yet = 0.0, 1.0
    for drawn in range(size - hits + 1):
        chance = hits / (size - drawn)
        mean += none_yet * chance / (before + drawn + 1)
        none_yet *= 1.0 - chance
    return mean


def _discounted(gain: Floats, k: int) -> float:
    first = gain[:k]
    return float((first / np.log2(np.arange(2, 2 + len(first)))).sum())


def _expected(scores: Floats, values: Floats) -> Floats:
    """Values by falling score, each replaced by the mean of its tie."""
    distinct, group = np.unique(-scores, return_inverse=True)
    mean = np.bincount(group, values, len(distinct)) / np.bincount(group, minlength=len(distinct))
    return np.asarray(mean[np.sort(group)], dtype=np.float64)
