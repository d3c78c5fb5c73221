"""How much of what was shown went to some items, and how much more may: limits of exposure.

Counters are of the answers of one replica: the same answers in the same order give the same
limits. It knows rows and keys, no catalogue and no clock.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HOUR_MS = 3_600_000
_HEAVY = 1e100
_ALMOST = 1e-9  # a share that is used up but for rounding leaves room

Floats = NDArray[np.float64]
Keys = NDArray[np.int64]


class Answer(NamedTuple):
    """One answer as far as it counts: how many items it shows, and when."""

    shown: int
    now_ms: int


class ShareLimit:
    """At most a share of all impressions, of each key, within a window of answers that fades.

    An answer that lies `window` answers back counts 1/e. Before every answer the room is what
    keeps the share within the limit once the answer has been given, so the share is kept from the
    first answer on wherever there is enough else to list.

    >>> limit = ShareLimit(share=0.25, window=100)
    >>> answer = Answer(shown=8, now_ms=0)
    >>> limit.room(np.array([0]), answer).tolist()
    [2.0]
    >>> limit.add(np.array([0, 0]), answer)
    >>> limit.room(np.array([0]), answer).tolist()
    [2.0]
    """

    def __init__(self, share: float, window: int) -> None:
        self._share = share
        self._keep = 1.0 - 1.0 / window
        self._counts: Floats = np.zeros(1)
        self._weight = 1.0  # of one impression now; it grows instead of all counts shrinking
        self._total = 0.0

    def room(self, keys: Keys, answer: Answer) -> Floats:
        """How many more impressions each key may have in this answer, shape (len(keys),)."""
        self._counts = _holding(self._counts, keys)
        total = self._share * (self._total * self._keep + answer.shown)
        had = self._counts[keys] * (self._keep / self._weight)
        return np.asarray(np.maximum(np.floor(total - had + _ALMOST), 0.0), np.float64)

    def add(self, keys: Keys, answer: Answer) -> None:
        """Counts one answer: a key for each of its impressions that has one."""
        self._counts = _holding(self._counts, keys)
        self._weight /= self._keep
        np.add.at(self._counts, keys, self._weight)
        self._total = self._total * self._keep + answer.shown
        if self._weight > _HEAVY:
            self._counts /= self._weight
            self._weight = 1.0


class HourlyLimit:
    """At most so many impressions of each key within a clock hour, UTC.

    >>> limit = HourlyLimit(2)
    >>> limit.add(np.array([0, 0]), Answer(10, now_ms=5))
    >>> [limit.room(np.array([0]), Answer(10, at)).tolist() for at in (6, HOUR_MS)]
    [[0.0], [2.0]]
    """

    def __init__(self, per_hour: int) -> None:
        self._per_hour = float(per_hour)
        self._counts: Floats = np.zeros(1)
        self._hour = 0

    def room(self, keys: Keys, answer: Answer) -> Floats:
        """How many more impressions each key may have now, shape (len(keys),)."""
        self._turn(answer.now_ms)
        self._counts = _holding(self._counts, keys)
        return np.maximum(self._per_hour - self._counts[keys], 0.0)

    def add(self, keys: Keys, answer: Answer) -> None:
        """Counts one answer: a key for each of its impressions that has one."""
        self._turn(answer.now_ms)
        self._counts = _holding(self._counts, keys)
        np.add.at(self._counts, keys, 1.0)

    def _turn(self, now_ms: int) -> None:
        """Begins anew with a later hour; an answer that comes late counts in the newest one."""
        if now_ms // HOUR_MS > self._hour:
            self._hour = now_ms // HOUR_MS
            self._counts[:] = 0.0


Limit = ShareLimit | HourlyLimit


def _holding(counts: Floats, keys: Keys) -> Floats:
    needed = int(keys.max(initial=0)) + 1
    if needed <= len(counts):
        return counts
    return np.concatenate([counts, np.zeros(max(needed, 2 * len(counts)) - len(counts))])
