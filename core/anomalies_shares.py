"""Shares that jump: refused among all records, bought items that no answer had shown among all.

The newest hours are compared with the four weeks before them by a z-test whose variance counts in
clumps (refusals and items of one order come together) and a least effect, in three hours or more:
one file of dirt is no alarm. Hours of event time in, a verdict out; knows no stream.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

Z = 4.26
"""One-sided normal quantile of 1e-5, the budget of false alarms per judged hour."""
LEAST_N = 100
LEAST_HOURS = 3
LONGEST_H = 24
BASELINE_H = 28 * 24
LEAST_BASELINE_N = 500
_LEAST_SHARE = 0.005


class Found(NamedTuple):
    """The newest hours' share, what is usual, and how many records were looked at."""

    share: float
    usual: float
    n: int


class ShareHours(msgspec.Struct):
    """One share by hour as [hour, events, n]; `least_rise` is the smallest jump that matters.

    A share of `whatever` alarms without any past to compare with, and whatever the hours.
    """

    least_rise: float
    whatever: float = 1.1
    hours: list[tuple[int, int, int]] = []
    raised_hour: int = -1

    def add(self, hour: int, events: int, n: int) -> bool | None:
        """Takes in one whole hour, later than any before.

        Returns True while the share is too high, False when it is as usual, None when too little
        is known.

        >>> share = ShareHours(0.05)
        >>> [share.add(hour, 2, 100) for hour in range(8)][-1]
        False
        >>> [share.add(hour, 40, 100) for hour in (8, 9, 10)]
        [None, None, True]
        >>> [share.add(hour, 2, 100) for hour in (11, 12, 13)]
        [None, None, False]
        """
        if n <= 0 or (self.hours and hour <= self.hours[-1][0]):
            return None
        self.hours.append((hour, events, n))
        if self.hours[0][0] < hour - BASELINE_H - 2 * LONGEST_H:
            self.hours = [each for each in self.hours if each[0] >= hour - BASELINE_H - LONGEST_H]
        verdict = self._verdict(hour)
        if verdict is True and self.raised_hour < 0:
            self.raised_hour = hour
        elif verdict is False:
            self.raised_hour = -1
        return verdict

    def found(self) -> Found:
        """The figures behind the last verdict."""
        newest, events, n = self._newest()
        base, base_n = self._before(newest)
        return Found(events / n if n else 0.0, base / base_n if base_n else 0.0, n)

    def _verdict(self, hour: int) -> bool | None:
        newest, events, n = self._newest()
        if n < LEAST_N or newest <= hour - LONGEST_H:
            return None
        share = events / n
        base, base_n = self._before(newest)
        if base_n < LEAST_BASELINE_N:
            return share >= self.whatever
        usual = max(base / base_n, _LEAST_SHARE)
        if share < usual + self.least_rise / 2:
            return False
        spread = math.sqrt(usual * (1 - usual) * n * self._clump(newest, usual))
        far = share >= min(usual + self.least_rise, 1.0) and events - usual * n >= Z * spread
        lasting = share >= self.whatever or self._bad_hours(newest, usual) >= LEAST_HOURS
        return True if far and lasting else None

    def _bad_hours(self, newest: int, usual: float) -> int:
        bar = usual + self.least_rise / 2
        return sum(first >= newest and k >= bar * n for first, k, n in self.hours)

    def _newest(self) -> tuple[int, int, int]:
        """The fewest newest hours that are enough: the first of them, their events and n."""
        events = n = 0
        first = -1
        for looked_at, (hour, some, of) in enumerate(reversed(self.hours), start=1):
            first, events, n = hour, events + some, n + of
            if n >= LEAST_N and looked_at >= LEAST_HOURS:
                break
        return first, events, n

    def _past(self, before: int) -> list[tuple[int, int, int]]:
        end = before if self.raised_hour < 0 else min(before, self.raised_hour)
        return [each for each in self.hours if end - BASELINE_H <= each[0] < end]

    def _before(self, before: int) -> tuple[int, int]:
        past = self._past(before)
        return sum(each[1] for each in past), sum(each[2] for each in past)

    def _clump(self, before: int, usual: float) -> float:
        """Variance of an hour's events about the usual share, over the binomial's; at least 1."""
        past = self._past(before)
        squares = sum((events - usual * n) ** 2 for _, events, n in past)
        binomial = sum(usual * (1 - usual) * n for _, _, n in past)
        return max(1.0, squares / binomial)
