"""Accuracy and macro-F1 of answers that name a class; counts in, figures out."""

from __future__ import annotations

import math
from collections.abc import Mapping

from core.intervals import Z95

Confusion = Mapping[str, Mapping[str, int]]
"""Counts by true class, then by the class that was said."""


def accuracy(confusion: Confusion) -> tuple[int, int]:
    """How many answers named the true class, and how many were judged.

    >>> accuracy({"cat": {"cat": 3, "dog": 1}, "dog": {"dog": 2}})
    (5, 6)
    """
    right = sum(row.get(true, 0) for true, row in confusion.items())
    return right, sum(sum(row.values()) for row in confusion.values())


def macro_f1(confusion: Confusion) -> tuple[float, float, float]:
    """Unweighted mean of the classes' F1 with 95 % bounds, clipped to [0, 1].

    F1 of class k is 2 n_kk / (row_k + column_k) over every class that occurs, said or true. The
    bounds are the delta method over the multinomial of the cells.
    Source: Takahashi, Yamamoto, Kuchiba, Koyama 2022 ("Confidence interval for micro- and
    macro-averaged F1 scores"), section 3.

    >>> tuple(round(x, 3) for x in macro_f1({"cat": {"cat": 8, "dog": 2}, "dog": {"dog": 10}}))
    (0.899, 0.766, 1.0)
    """
    cells = [
        (true, said, count)
        for true, row in sorted(confusion.items())
        for said, count in sorted(row.items())
        if count
    ]
    n = sum(count for _, _, count in cells)
    if not n:
        return 0.0, 0.0, 0.0
    names = sorted({name for true, said, _ in cells for name in (true, said)})
    hit = dict.fromkeys(names, 0)
    both = dict.fromkeys(names, 0)  # row and column of the class together
    for true, said, count in cells:
        both[true] += count
        both[said] += count
        hit[true] += count if true == said else 0
    value = sum(2 * hit[name] / both[name] for name in names) / len(names)
    slopes = [
        (count / n, sum(_slope(hit, both, name, true == said) for name in (true, said)))
        for true, said, count in cells
    ]
    spread = [(share, slope * n / len(names)) for share, slope in slopes]
    mean = sum(share * slope for share, slope in spread)
    variance = sum(share * slope * slope for share, slope in spread) - mean * mean
    half = Z95 * math.sqrt(max(0.0, variance) / n)
    return value, max(0.0, value - half), min(1.0, value + half)


def _slope(hit: Mapping[str, int], both: Mapping[str, int], name: str, right: bool) -> float:
    """Half of what one more answer in a cell adds to the F1 of the class it touches."""
    return (1 if right else 0) / both[name] - 2 * hit[name] / both[name] ** 2
