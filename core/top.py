"""The largest of many values without sorting them all.

It knows values and rows, no items and no models.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


def top_rows(values: Floats, n: int, names: Rows | None = None) -> Rows:
    """Rows of the n largest values above zero, largest first, ties by row.

    With `names`, shape of `values`, these stand for the rows, also in the order of ties.

    >>> top_rows(np.array([0.5, 0.0, 2.0, 0.5], np.float32), 2).tolist()
    [2, 0]
    >>> top_rows(np.array([0.5, 0.0, 2.0, 0.5], np.float32), 2, np.array([9, 8, 7, 6])).tolist()
    [7, 6]
    """
    enough = reached_by(values, n)
    at = (values >= enough if enough > 0 else values > 0).nonzero()[0]
    if names is None:
        return at[np.argsort(-values[at], kind="stable")][:n]
    rows = names[at]
    return rows[np.lexsort((rows, -values[at]))][:n]


def top_allowed(values: Floats, n: int, names: Rows, allowed: NDArray[np.bool_]) -> Rows:
    """As `top_rows` of those names that are allowed; only near the top is that looked up.

    >>> values, names = np.array([0.5, 3.0, 2.0], np.float32), np.array([2, 1, 0])
    >>> top_allowed(values, 2, names, np.array([True, False, True])).tolist()
    [0, 2]
    """
    enough = reached_by(values, 2 * n)
    at = (values >= enough if enough > 0 else values > 0).nonzero()[0]
    rows, found = names[at], values[at]
    kept = allowed[rows]
    if enough > 0 and np.count_nonzero(kept) < n:
        return top_rows(values * allowed[names], n, names)
    return top_rows(found[kept], n, rows[kept])


def reached_by(values: Floats, n: int) -> float:
    """A value that at least n values reach, near the n-th largest; minus infinity for few values.

    Each of n groups has its maximum at or above the n-th largest maximum.

    >>> values = np.arange(1_000, dtype=np.float32)
    >>> reached_by(values, 10) <= 990, reached_by(values, 10) > 900, reached_by(values, 500)
    (True, True, -inf)
    """
    groups = 4 * n
    depth = len(values) // max(groups, 1)
    if depth < 2:
        return float("-inf")
    maxima = values[: depth * groups].reshape(depth, groups).max(axis=0)
    return float(np.partition(maxima, groups - n)[groups - n])


def sorted_union(parts: Sequence[Rows]) -> Rows:
    """All rows of the parts, each once, rising.

    >>> sorted_union([np.array([5, 2]), np.array([2, 9])]).tolist()
    [2, 5, 9]
    """
    rows = np.concatenate(parts)
    rows.sort()
    if len(rows) < 2:
        return rows
    first = np.empty(len(rows), np.bool_)
    first[0] = True
    np.not_equal(rows[1:], rows[:-1], out=first[1:])
    return rows[first]
