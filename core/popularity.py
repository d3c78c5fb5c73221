"""Popularity by day: how much each item was wanted in a window of event-time days.

Windows end with the day asked about and include what of it has been seen. It knows rows and days,
no items and no clock.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DAY_MS = 86_400_000
KEPT_DAYS = 35

Floats = NDArray[np.float32]


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
        self._sums: dict[int, tuple[int, Floats]] = {}

    def add(self, rows: NDArray[np.int64], weight: float, at_ms: int) -> None:
        """Adds one interaction of this weight with each of the (distinct) rows."""
        day = at_ms // DAY_MS
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

    def grow(self, capacity: int) -> None:
        """Makes room for more rows."""
        extra = np.zeros(capacity - self.capacity, np.float32)
        self.capacity = capacity
        self.buckets = {day: np.concatenate([b, extra]) for day, b in self.buckets.items()}
        self._sums.clear()

    def _forget(self, newest_day: int) -> None:
        for day in [d for d in self.buckets if d <= newest_day - KEPT_DAYS]:
            del self.buckets[day]
