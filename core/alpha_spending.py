"""How much chance of error each of several candidates may use, so that all together stay in budget.

Every challenger that is put to the test is another chance that a worse one passes by luck. The k-th
within a rolling period is tested at α_k = 6α/(π²k²); these add up to α, and in any window of that
length each candidate's number is at least its rank there, so the bound holds for every window.
Source: Foster and Stine 2008 ("α-investing"), section 2, for spending a wealth over a sequence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec


class Spending(msgspec.Struct):
    """When candidates began their test within the period; the newest's number and level."""

    began_ms: list[int] = []
    number: int = 0
    alpha: float = 0.05

    def begin(self, now_ms: int, budget: float, period_ms: int) -> None:
        """A further candidate is put to the test.

        >>> spending = Spending()
        >>> for day in (0, 1, 100):
        ...     spending.begin(day, budget=0.05, period_ms=28)
        ...     print(spending.number, round(spending.alpha, 4))
        1 0.0304
        2 0.0076
        1 0.0304
        """
        self.began_ms = [*within(self.began_ms, now_ms, period_ms), now_ms]
        self.number = len(self.began_ms)
        self.alpha = level(self.number, budget)

    def figures(self) -> dict[str, float]:
        """What a record says of the level a decision was taken at."""
        return {"alpha": self.alpha, "candidate_number": float(self.number)}


def level(number: int, budget: float) -> float:
    """The level of the candidate with this number, counted from 1.

    >>> round(sum(level(k, 0.05) for k in range(1, 10_000)), 4)
    0.05
    """
    return 6 * budget / (math.pi * number) ** 2


def within(moments_ms: Sequence[int], now_ms: int, period_ms: int) -> list[int]:
    """The moments of the last period, oldest first.

    >>> within([1, 50, 90], 100, 28)
    [90]
    """
    return [at for at in moments_ms if now_ms - at < period_ms]
