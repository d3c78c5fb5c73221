"""How many pairs a cross-encoder may read before an answer is due, by what pairs took so far.

The clock is the caller's: milliseconds come in, counts go out.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_PAIR_MS = 4.0
DECAY = 0.9
MOST_AT_ONCE = 4
"""Pairs of one run: after each the clock is looked at again."""


@dataclass(frozen=True)
class PairCost:
    """A decayed mean of the milliseconds one pair takes."""

    pair_ms: float = FIRST_PAIR_MS

    def after(self, pairs: int, took_ms: float) -> PairCost:
        """The mean once a run of so many pairs took so long; a dearer run counts twice as much.

        >>> PairCost(2.0).after(10, 10.0).pair_ms, PairCost(2.0).after(10, 40.0).pair_ms
        (1.9, 2.4)
        """
        if pairs <= 0 or took_ms < 0:
            return self
        seen = took_ms / pairs
        share = (1.0 - DECAY) * (2.0 if seen > self.pair_ms else 1.0)
        return PairCost(round(self.pair_ms + share * (seen - self.pair_ms), 6))

    def eased(self) -> PairCost:
        """The mean after a search in which no pair fitted: a spell of dear ones must not last.

        >>> PairCost(50.0).eased().pair_ms
        45.0
        """
        return PairCost(round(self.pair_ms * DECAY, 6))


def next_pairs(cost: PairCost, left_ms: float, waiting: int) -> int:
    """Pairs of the next run: what fits into the time left, at most `MOST_AT_ONCE`; 0 is the end.

    >>> next_pairs(PairCost(2.0), left_ms=9.0, waiting=50)
    4
    >>> next_pairs(PairCost(2.0), 100.0, 50), next_pairs(PairCost(2.0), 1.9, 50)
    (4, 0)
    """
    if cost.pair_ms <= 0:
        return min(waiting, MOST_AT_ONCE)
    return max(0, min(waiting, MOST_AT_ONCE, int(left_ms / cost.pair_ms)))
