"""Tests of a split that may be looked at after every answer: two shares, and the split itself.

The always-valid counterparts of a two-sample z-test and of the chi-square test of a sample ratio.
It knows no arms and no stream: counts in, bounds and p-values out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

from core.intervals import confidence_sequence, mixture_scale, msprt

_NORMAL = NormalDist()


class Share(NamedTuple):
    """So many of so many."""

    hits: int
    n: int


class Difference(NamedTuple):
    """A difference of two shares, its always-valid bounds, and the p-value of "not above −margin".

    `low` and `high` are the mSPRT inverted: the value they exclude is the value it rejects.
    """

    mean: float
    low: float
    high: float
    p: float


def share_difference(
    new: Share, old: Share, margin: float, alpha: float, planned_n: float, spread: float = 1.0
) -> Difference:
    """New share less old, for groups of unequal size, at every look at once.

    With nₑ = n₁n₂/(n₁+n₂) the difference times nₑ behaves as a sum of nₑ values of variance
    nₑ(p₁q₁/n₁ + p₂q₂/n₂), or that of the pooled share where it is greater (a small group without
    hits would seem certain), times the design effect `spread` of visitors who answer repeatedly.
    Source: Johari, Koomen, Pekelis, Walsh 2017, section 4.3 (two streams); Kish 1965, section 8.2.

    >>> found = share_difference(Share(900, 3000), Share(900, 3000), 0.05, 0.05, 1_000)
    >>> found.mean, round(found.low, 3), round(found.high, 3), found.p < 0.05
    (0.0, -0.036, 0.036, True)
    """
    if not new.n or not old.n:
        return Difference(0.0, -math.inf, math.inf, 1.0)
    rate, former = new.hits / new.n, old.hits / old.n
    information = new.n * old.n / (new.n + old.n)
    noise = rate * (1 - rate) / new.n + former * (1 - former) / old.n
    pooled = (new.hits + old.hits) / (new.n + old.n)
    variance = max(noise * information, pooled * (1 - pooled), 1.0 / information) * spread
    mean = rate - former
    total, squares = mean * information, (variance + mean * mean) * information
    low, high = confidence_sequence(total, squares, information, planned_n, alpha)
    if not math.isfinite(low) or mean <= -margin:
        return Difference(mean, low, high, 1.0)
    tau2 = variance / mixture_scale(planned_n, alpha)
    p = msprt((mean + margin) * information, information, variance, tau2)
    return Difference(mean, low, high, p)


def split_days(rate: float, margin: float, share: float, a_day: float, alpha: float) -> float:
    """Days until a split shows an equal rate non-inferior with 80 % power, looked at throughout.

    Solves margin·n = half width of the confidence sequence + 0.84·√(n σ²) at its tightest, where
    the half width is √(nσ²)·√((1+1/c)·ln((1+c)/α²)) with c = n/ρ (`mixture_scale`), and n is the
    information f(1−f)N of N requests of which a share f goes to the new version.

    >>> round(split_days(0.7, 0.05, share=0.5, a_day=50, alpha=0.05))
    101
    """
    if a_day <= 0 or not 0 < share < 1:
        return math.inf
    c = 1.0 / mixture_scale(1.0, alpha)
    width = math.sqrt((1 + 1 / c) * math.log((1 + c) / alpha**2)) + _NORMAL.inv_cdf(0.8)
    information = rate * (1 - rate) * (width / margin) ** 2
    return information / (share * (1 - share)) / a_day


def surely_above(share: Share, former: Share, added: float, alpha: float) -> bool:
    """Whether a share lies above a former one by more than `added`, at every look at once.

    >>> surely_above(Share(80, 1_000), Share(5, 1_000), 0.02, 0.01)
    True
    >>> surely_above(Share(3, 20), Share(5, 1_000), 0.02, 0.01)
    False
    """
    return share_difference(share, former, 0.0, 2 * alpha, 1_000).low > added


def split_p(counts: Sequence[int], shares: Sequence[float]) -> float:
    """p-value of "split as intended" that holds at every look: a sample-ratio test to peek at.

    Inverse of the likelihood ratio of a Dirichlet mixture centred on the intended shares (with a
    weight of 100 visitors) against those shares; a chi-square test looked at 100 times would call
    one sound split in twenty broken at p < 0.001.
    Source: Lindon and Malek 2022 ("Anytime-valid inference for multinomial count data"), section 3.

    >>> split_p([500, 9_500], [0.05, 0.95]), split_p([350, 9_650], [0.05, 0.95]) < 0.001
    (1.0, True)
    """
    weights = [100.0 * share for share in shares]
    log_ratio = math.lgamma(sum(weights)) - math.lgamma(sum(weights) + sum(counts))
    for count, share, weight in zip(counts, shares, weights, strict=True):
        log_ratio += math.lgamma(weight + count) - math.lgamma(weight) - count * math.log(share)
    return min(1.0, math.exp(-max(min(log_ratio, 700.0), 0.0)))
