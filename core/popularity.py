"""Popularity by day: how much each item was wanted in a window of event-time days.

Windows end with the day asked about and include what of it has been seen. It knows rows and days,
no items and no clock.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.top import top_rows

DAY_MS = 86_400_000
KEPT_DAYS = 35

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


class DayPopularity:
    """Buckets per UTC day and running sums of the windows that are asked for.

    >>> counts = DayPopularity(capacity=4)
    >>> counts.add(np.array([2]), 1.0, at_ms=5 * DAY_MS)
    >>> float(counts.window(6 * DAY_MS, days=7)[2]), float(counts.window(12 * DAY_MS, days=7)[2])
    (1.0, 0.0)
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.buckets: dict[int, Floats] = {}
        self.changed: set[int] = set()  # days; whoever saves them empties it
        self._sums: dict[int, tuple[int, Floats]] = {}
        self._ranked: dict[int, tuple[int, Rows]] = {}
        self._heads: dict[int, tuple[int, int, Rows]] = {}

    def add(self, rows: Rows, weight: float, at_ms: int) -> None:
        """Adds one interaction of this weight with each of the (distinct) rows."""
        self._ranked.clear()
        self._heads.clear()
        day = at_ms // DAY_MS
        self.changed.add(day)
        bucket = self.buckets.get(day)
        if bucket is None:
            bucket = self.buckets[day] = np.zeros(self.capacity, np.float32)
            self._forget(max(self.buckets))
        bucket[rows] += weight
        for days, (last_day, sums) in self._sums.items():
            if last_day - days < day <= last_day:
                sums[rows] += weight

    def window(self, now_ms: int, days: int) -> Floats:
        """Sums over the last `days` days, shape (capacity,); the caller must not write to it."""
        day = now_ms // DAY_MS
        cached = self._sums.get(days)
        if cached is not None and cached[0] == day:
            return cached[1]
        sums = np.zeros(self.capacity, np.float32)
        for past in range(day - days + 1, day + 1):
            bucket = self.buckets.get(past)
            if bucket is not None:
                sums += bucket
        self._sums[days] = (day, sums)
        return sums

    def ranked(self, now_ms: int, days: int) -> Rows:
        """Rows wanted in the last `days` days, most wanted first, ties by row; not to be written.

        >>> counts = DayPopularity(capacity=4)
        >>> counts.add(np.array([1, 3]), 1.0, at_ms=0)
        >>> counts.add(np.array([3]), 1.0, at_ms=0)
        >>> counts.ranked(0, days=7).tolist()
        [3, 1]
        """
        day = now_ms // DAY_MS
        known = self._ranked.get(days)
        if known is None or known[0] != day:
            sums = self.window(now_ms, days)
            rows = (sums > 0).nonzero()[0]
            known = (day, rows[np.argsort(-sums[rows], kind="stable")])
            self._ranked[days] = known
        return known[1]

    def most_wanted(self, now_ms: int, days: int, n: int, allowed: NDArray[np.bool_]) -> Rows:
        """The first n rows of `ranked` that are allowed; `allowed` may be shorter than capacity.

        >>> counts = DayPopularity(capacity=4)
        >>> counts.add(np.array([1, 3]), 1.0, at_ms=0)
        >>> counts.most_wanted(0, 7, 1, np.array([True, False, True, True])).tolist()
        [3]
        """
        rows = self._head(now_ms, days, 4 * n)
        found = rows[allowed[rows]][:n]
        if len(found) == n or len(rows) < 4 * n:
            return found
        rows = self.ranked(now_ms, days)
        return rows[allowed[rows]][:n]

    def _head(self, now_ms: int, days: int, n: int) -> Rows:
        """At least the first n rows of `ranked`, where there are as many."""
        day = now_ms // DAY_MS
        known = self._heads.get(days)
        if known is None or known[0] != day or known[1] < n:
            known = (day, n, top_rows(self.window(now_ms, days), n))
            self._heads[days] = known
        return known[2]

    def grow(self, capacity: int) -> None:
        """Makes room for more rows."""
        extra = np.zeros(capacity - self.capacity, np.float32)
        self.capacity = capacity
        self.buckets = {day: np.concatenate([b, extra]) for day, b in self.buckets.items()}
        self._sums.clear()

    def _forget(self, newest_day: int) -> None:
        for day in [d for d in self.buckets if d <= newest_day - KEPT_DAYS]:
            del self.buckets[day]
