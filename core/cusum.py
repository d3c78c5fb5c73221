"""One-sided CUSUM charts and the thresholds that a false-alarm budget gives them.

A budget is a mean number of observations between false alarms (the in-control ARL). Thresholds are
computed from it, never fitted to data. It knows no streams and no models.
"""

from __future__ import annotations

import math
from functools import lru_cache

import msgspec
import numpy as np

from core.intervals import bisect_up

_MOST_STATES = 300
_GRIDS = (20, 50, 100, 200, 500, 1_000, 5_000, 20_000)
_SIEGMUND_SHIFT = 1.166
"""Twice 0.583, the mean overshoot of a normal random walk: Siegmund 1985, section 4.11."""


class BernoulliChart(msgspec.Struct, frozen=True):
    """S ← max(0, S + up) on an event and max(0, S − down) otherwise; alarm at `threshold`.

    In units of 1/(up + down) events; `p0` is the rate it tolerates, `p1` the one it is tuned for.
    """

    p0: float
    p1: float
    up: int
    down: int
    threshold: int

    def minimum_detectable(self, n: int) -> float:
        """The smallest rise over `p0` that lifts the statistic to the threshold in n steps.

        >>> bernoulli_chart(0.30, 0.44, 1e6).minimum_detectable(500) < 0.12
        True
        """
        return (self.down + self.threshold / max(n, 1)) / (self.up + self.down) - self.p0


@lru_cache(maxsize=256)
def bernoulli_chart(p0: float, p1: float, budget: float) -> BernoulliChart:
    """The chart against a rise from p0 to p1 with at least `budget` steps per false alarm.

    The reference value is that of the likelihood ratio, to the nearest fraction on a grid; the
    threshold is exact for that grid by Markov chain (Reynolds and Stoumbos 1999, section 3; Brook
    and Evans 1972). Where the chain would be too long, Wald's bound without the overshoot gives it,
    with the reference rounded up, which only lengthens the mean run.

    >>> chart = bernoulli_chart(0.30, 0.44, 1e6)
    >>> bernoulli_arl(chart.up, chart.down, chart.threshold, 0.30) >= 1e6
    True
    """
    rise, fall = math.log(p1 / p0), math.log((1 - p0) / (1 - p1))
    reference = fall / (rise + fall)
    grid = next((m for m in _GRIDS if _close(reference, m, p1 - p0)), _GRIDS[-1])
    wald = _wald_threshold(p0, p1, budget) / (rise + fall)
    if wald * grid > _MOST_STATES:
        down = math.ceil(reference * grid)
        return BernoulliChart(p0, p1, grid - down, down, math.ceil(wald * grid))
    down = round(reference * grid)
    least = max(int(wald * grid) // 2, 1)
    threshold = bisect_up(lambda h: bernoulli_arl(grid - down, down, h, p0), budget, least)
    return BernoulliChart(p0, p1, grid - down, down, threshold)


def bernoulli_arl(up: int, down: int, threshold: int, rate: float) -> float:
    """Mean steps to the alarm from S = 0, from the absorbing Markov chain on 0 … threshold − 1.

    Source: Brook and Evans 1972.

    >>> round(bernoulli_arl(1, 1, 1, 0.25), 6)
    4.0
    """
    states = np.arange(threshold)
    chain = np.eye(threshold)
    inside = states + up < threshold
    np.add.at(chain, (states[inside], states[inside] + up), -rate)
    np.add.at(chain, (states, np.maximum(states - down, 0)), -(1 - rate))
    try:
        steps = float(np.linalg.solve(chain, np.ones(threshold))[0])
    except np.linalg.LinAlgError:
        return math.inf
    return steps if 0 < steps < 1e14 else math.inf


@lru_cache(maxsize=256)
def rare_chart(rate: float, drop: float, budget: float) -> BernoulliChart:
    """The chart against a rare "yes" becoming rarer by the share `drop`, budgeted at `rate`.

    Its event is the "no": S rises by 1 on each and falls by a whole number `down` on a "yes", the
    nearest to the likelihood ratio's. So S reaches its threshold without overshoot, and the exact
    mean run is known in one pass (Brook and Evans 1972).

    >>> chart = rare_chart(0.03, 0.2, 1e6)
    >>> chart.up, chart.down, chart.threshold
    (1, 36, 1087)
    """
    rise = math.log((1 - rate * (1 - drop)) / (1 - rate))
    down = max(1, round(-math.log(1 - drop) / rise))
    threshold = rare_threshold(rate, down, budget)
    return BernoulliChart(1 - rate, 1 - rate * (1 - drop), 1, down, threshold)


def rare_threshold(rate: float, down: int, budget: float) -> int:
    """The least h at which S ← S + 1, or max(0, S − down) with this rate, runs `budget` steps.

    With m(s) the mean steps from s to h, m(s) = 1 + (1 − rate)·m(s + 1) + rate·m(max(0, s − down)):
    so m(s) = m(0) − c(s) with c from below, and m(h) = 0 gives m(0) = c(h).

    >>> rare_threshold(0.03, 36, 424.0), round(bernoulli_arl(1, 36, 100, 0.97))
    (100, 425)
    """
    cost = [0.0]
    while cost[-1] < budget:
        s = len(cost) - 1
        cost.append((cost[s] + 1 - rate * cost[max(0, s - down)]) / (1 - rate))
    return len(cost) - 1


def normal_arl(k: float, threshold: float) -> float:
    """Mean steps to a false alarm of S ← max(0, S + z − k) on standard normal z.

    (e^{2kb} − 2kb − 1) / 2k² with b = h + 1.166; source: Siegmund 1985, equation 2.56.

    >>> round(normal_arl(0.5, 4.0))
    338
    """
    exponent = 2 * k * (threshold + _SIEGMUND_SHIFT)
    return (math.exp(min(exponent, 700.0)) - exponent - 1) / (2 * k * k)


@lru_cache(maxsize=64)
def normal_threshold(k: float, budget: float) -> float:
    """The threshold, to a hundredth, with at least `budget` steps per false alarm.

    >>> normal_threshold(0.5, 338.0)
    4.0
    """
    return bisect_up(lambda h: normal_arl(k, h / 100), budget, 1) / 100


def _close(reference: float, grid: int, shift: float) -> bool:
    """Whether the grid has a fraction just above the reference, and so a nearest one too."""
    return math.ceil(reference * grid) / grid - reference < 0.15 * shift


def _wald_threshold(p0: float, p1: float, budget: float) -> float:
    """Log-likelihood threshold h with (e^h − h − 1) / KL(p0, p1) ≥ budget (Wald, no overshoot)."""
    divergence = p0 * math.log(p0 / p1) + (1 - p0) * math.log((1 - p0) / (1 - p1))
    target = budget * divergence
    return bisect_up(lambda h: math.exp(h / 100) - h / 100 - 1, target, 1) / 100
