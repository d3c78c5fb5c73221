"""Traffic collapse: hours without the traffic that the same hours of past weeks had.

It speaks only while the shop was open a moment before and only where past weeks expect enough, so
that a night, a Sunday, a holiday or a small shop's quiet hour is no collapse. It counts whole hours
of event time; it knows no clock and no stream.
"""

from __future__ import annotations

import math
from statistics import median
from typing import NamedTuple

import msgspec

WEEK_H = 168
WEEKS = 6
LEAST_WEEKS = 4
LONGEST_H = 6
OPEN_H = 4
LEAST_OPEN = 4.0
DISPERSION = 0.05
"""Variance of the expectation itself, relative to its square: it is known to 22 %."""
BUDGET_PER_HOUR = 1e-5
"""False pages per judged hour: at most one in eleven years of a series that is always judged."""
_SCALED = 500.0
_BACK_SHARE = 0.5
_KEPT_H = (WEEKS + 2) * WEEK_H
_MEMORY_H = WEEKS * WEEK_H


class Window(NamedTuple):
    """Hours [start, end), numbered since the epoch: what they had and what past weeks expect."""

    start: int
    end: int
    actual: int
    expected: float


class TrafficHours(msgspec.Struct):
    """One series by hour, eight weeks back, and whether it has collapsed.

    `totals[i]` counts everything before the hour `first + i`. `squares` over `means` is the index
    of dispersion of hours about what past weeks expected of them.
    """

    totals: list[int] = msgspec.field(default_factory=lambda: [0])
    first: int = -1
    squares: float = 0.0
    means: float = 0.0
    collapsed: bool = False

    @property
    def end(self) -> int:
        """The hour after the last one taken in."""
        return self.first + len(self.totals) - 1

    @property
    def clump(self) -> float:
        """How many events come together, on average: those of one shopper are no independent ones.

        Everything is compared in clumps, so that three events per click alarm as soon as one does.
        """
        return max(1.0, self.squares / self.means) if self.means else 1.0

    def add(self, hour: int, count: int) -> bool | None:
        """Takes in one whole hour, later than any before; hours passed over count as empty.

        Returns True while traffic has collapsed, False when there is enough of it, and None when
        the hour says nothing.
        """
        if self.first < 0 or hour - self.end > _KEPT_H:
            self.first, self.totals = hour, [0]
        if hour < self.end:
            return None
        total = self.totals[-1]
        self.totals.extend([total] * (hour - self.end))
        self.totals.append(total + count)
        self._forget()
        self._learn_clumps(count)
        verdict = self._verdict()
        if verdict is not None:
            self.collapsed = verdict
        return verdict

    def newest(self) -> Window | None:
        """The shortest run of newest hours that past weeks expect enough of, if there is one."""
        return self._shortest(self.end, LONGEST_H, least_expected())

    def _verdict(self) -> bool | None:
        window = self.newest()
        if window is None:
            return None
        if window.actual >= _BACK_SHARE * window.expected:
            return False
        clump = self.clump
        if at_most(int(window.actual / clump), window.expected / clump) > BUDGET_PER_HOUR:
            return None
        return True if self.collapsed or self._was_open(window.start) else None

    def _was_open(self, end: int) -> bool:
        before = self._shortest(end, OPEN_H, LEAST_OPEN)
        return before is not None and before.actual >= _BACK_SHARE * before.expected

    def _shortest(self, end: int, longest: int, least: float) -> Window | None:
        enough = least * self.clump
        for length in range(1, longest + 1):
            found = self._window(end - length, end)
            if found is None or found.expected >= enough:
                return found
        return None

    def _window(self, start: int, end: int) -> Window | None:
        past = self._past(start, end)
        if len(past) < LEAST_WEEKS:
            return None
        usual = median(past)
        return Window(start, end, self._sum(start, end), usual and usual * self._level())

    def _past(self, start: int, end: int) -> list[int]:
        """The same hours of past weeks, as far as they are known."""
        known = min(WEEKS, (start - self.first) // WEEK_H)
        return [self._sum(start - w * WEEK_H, end - w * WEEK_H) for w in range(1, known + 1)]

    def _level(self) -> float:
        """The last week against the weeks before it: a season that goes down is no collapse."""
        past = self._past(self.end - WEEK_H, self.end)
        if not past or not (usual := median(past)):
            return 1.0
        return min(1.0, self._sum(self.end - WEEK_H, self.end) / usual)

    def _sum(self, start: int, end: int) -> int:
        return self.totals[end - self.first] - self.totals[start - self.first]

    def _learn_clumps(self, count: int) -> None:
        window = self._window(self.end - 1, self.end)
        if self.collapsed or window is None or window.expected <= 0:
            return
        keep = 1 - 1 / _MEMORY_H
        self.squares = self.squares * keep + (count - window.expected) ** 2
        self.means = self.means * keep + window.expected

    def _forget(self) -> None:
        surplus = len(self.totals) - 1 - _KEPT_H
        if surplus >= WEEK_H:
            del self.totals[:surplus]
            self.first += surplus
            base = self.totals[0]
            self.totals = [total - base for total in self.totals]


def at_most(count: int, mean: float) -> float:
    """P(X <= count) of a negative binomial with this mean and `DISPERSION`.

    Means above 500 are scaled down to it, where the spread of the mean is all that is left.
    *Source:* Hilbe, Negative Binomial Regression, 2nd ed., section 8.2 (NB2).

    >>> f"{at_most(0, 16.0):.1e}", f"{at_most(3, 16.0):.1e}", round(at_most(15, 16.0), 2)
    ('7.8e-06', '1.5e-03', 0.5)
    """
    if mean > _SCALED:
        count, mean = int(count * _SCALED / mean), _SCALED
    size = 1 / DISPERSION
    share = mean / (size + mean)
    term = total = math.pow(1 - share, size)
    for k in range(1, count + 1):
        term *= (size + k - 1) / k * share
        total += term
    return min(total, 1.0)


def least_expected() -> float:
    """The least expectation whose total absence is rarer than the budget.

    >>> round(least_expected(), 1), at_most(0, least_expected()) <= BUDGET_PER_HOUR
    (15.6, True)
    """
    size = 1 / DISPERSION
    return size * (math.pow(BUDGET_PER_HOUR, -1 / size) - 1) * (1 + 1e-9)
