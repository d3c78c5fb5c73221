"""Intervals and sequential tests: how sure a figure is, however often it is looked at.

It knows no stream and no metric: numbers in, bounds out. Random generators are passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the standard normal."""

_NORMAL = NormalDist()


def wilson(successes: float, n: int, z: float = Z95) -> tuple[float, float]:
    """Bounds of a proportion; (0, 1) when there is nothing to go by.

    Source: Wilson 1927; Brown, Cai, DasGupta 2001, section 3.1.1.

    >>> tuple(round(bound, 3) for bound in wilson(30, 100))
    (0.219, 0.396)
    """
    if n <= 0:
        return 0.0, 1.0
    rate, square = successes / n, z * z
    centre = (rate + square / (2 * n)) / (1 + square / n)
    half = z / (1 + square / n) * math.sqrt(rate * (1 - rate) / n + square / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(total: float, squares: float, n: int) -> tuple[float, float, float]:
    """Mean and its 95 % normal bounds from a sum, a sum of squares and a count.

    With fewer than two values the bounds are the mean itself.

    >>> tuple(round(x, 2) for x in mean_interval(total=10.0, squares=30.0, n=5))
    (2.0, 0.61, 3.39)
    """
    if n <= 0:
        return 0.0, 0.0, 0.0
    mean = total / n
    if n == 1:
        return mean, mean, mean
    variance = max(0.0, squares - n * mean * mean) / (n - 1)
    half = Z95 * math.sqrt(variance / n)
    return mean, mean - half, mean + half


def ratio_interval(sums: tuple[float, float, float, float, float]) -> tuple[float, float, float]:
    """Ratio of two sums over independent units with 95 % bounds by the delta method.

    `sums` are Σa, Σb, Σa², Σab, Σb² and the ratio is Σa/Σb.
    Source: Cochran, Sampling Techniques, 3rd edition, section 6.4.

    >>> tuple(round(x, 2) for x in ratio_interval((10.0, 20.0, 12.0, 20.0, 44.0)))
    (0.5, 0.33, 0.67)
    """
    above, below, above2, cross, below2 = sums
    if below <= 0:
        return 0.0, 0.0, 0.0
    ratio = above / below
    spread = max(0.0, above2 - 2 * ratio * cross + ratio * ratio * below2)
    half = Z95 * math.sqrt(spread) / below
    return ratio, max(0.0, ratio - half), ratio + half


def auc_interval(auc: float, positives: int, negatives: int) -> tuple[float, float]:
    """95 % bounds of an area under the ROC curve, clipped to [0, 1].

    Source: Hanley and McNeil 1982, equation 1.

    >>> tuple(round(x, 3) for x in auc_interval(0.8, 50, 150))
    (0.721, 0.879)
    """
    if positives == 0 or negatives == 0:
        return 0.0, 1.0
    q1, q2 = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    variance = auc * (1 - auc) + (positives - 1) * (q1 - auc**2) + (negatives - 1) * (q2 - auc**2)
    half = Z95 * math.sqrt(max(0.0, variance) / (positives * negatives))
    return max(0.0, auc - half), min(1.0, auc + half)


def mixture_scale(planned_n: float, alpha: float = 0.05) -> float:
    """The ρ (per unit variance) that makes the confidence sequence tightest near `planned_n`.

    ρ = n / (2 ln(1/α) + ln(1 + 2 ln(1/α))), the closed form near the optimum of
    Howard, Ramdas, McAuliffe, Sekhon 2021, section 3.5.

    >>> round(mixture_scale(400), 1)
    50.4
    """
    log_term = -2.0 * math.log(alpha)
    return planned_n / (log_term + math.log1p(log_term))


def confidence_sequence(
    total: float, squares: float, n: float, planned_n: float = 400, alpha: float = 0.05
) -> tuple[float, float]:
    """Bounds of a mean that hold at every n at once, so they may be looked at after each value.

    With V = n·σ̂² and ρ' = ρ·σ̂² the bounds are mean ± √((V + ρ') · ln((V + ρ') / (ρ' α²))) / n:
    the two-sided normal-mixture boundary of Robbins 1970, equation 14 in Howard, Ramdas,
    McAuliffe, Sekhon 2021 ("Time-uniform, nonparametric, nonasymptotic confidence sequences").
    The variance is estimated, so the level is asymptotic (Waudby-Smith et al. 2024); below ten
    values the bounds are infinite. A variance of zero is replaced by that of one unlike value.

    >>> low, high = confidence_sequence(total=20.0, squares=60.0, n=400)
    >>> round(low, 3), round(high, 3)
    (-0.008, 0.108)
    """
    if n < 10:
        return -math.inf, math.inf
    mean = total / n
    variance = max(squares / n - mean * mean, 1.0 / n)
    rho = mixture_scale(planned_n, alpha) * variance
    spent = n * variance + rho
    half = math.sqrt(spent * math.log(spent / (rho * alpha * alpha))) / n
    return mean - half, mean + half


def msprt(total: float, n: float, variance: float, tau2: float) -> float:
    """Always-valid p-value of "the mean is 0" after n values (its running minimum is the test's).

    Λ = √(σ²/(σ²+nτ²)) · exp(τ² S² / (2σ²(σ²+nτ²))), p = min(1, 1/Λ), with a N(0, τ²) mixture.
    Source: Johari, Koomen, Pekelis, Walsh 2017 ("Peeking at A/B tests"), section 4.

    >>> msprt(0.0, 100, 1.0, 0.01)
    1.0
    >>> msprt(50.0, 100, 1.0, 0.01) < 0.01
    True
    """
    if n == 0 or variance <= 0:
        return 1.0
    spread = variance + n * tau2
    log_ratio = 0.5 * math.log(variance / spread) + tau2 * total**2 / (2 * variance * spread)
    return min(1.0, math.exp(-min(log_ratio, 700.0)))


def sample_ratio_mismatch(counts: Sequence[int], shares: Sequence[float]) -> float:
    """p-value of "the arms were split as intended" by chi-square on k−1 degrees of freedom.

    Source: Fabijan et al. 2019 ("Diagnosing sample ratio mismatch"). Act below 0.001.

    >>> round(sample_ratio_mismatch([5000, 5000], [0.5, 0.5]), 3)
    1.0
    >>> sample_ratio_mismatch([5300, 4700], [0.5, 0.5]) < 0.001
    True
    """
    total = sum(counts)
    if total == 0 or len(counts) < 2:
        return 1.0
    statistic = sum(
        (count - total * share) ** 2 / (total * share)
        for count, share in zip(counts, shares, strict=True)
    )
    return chi_square_tail(statistic, len(counts) - 1)


def chi_square_tail(statistic: float, freedom: int) -> float:
    """P(χ² > statistic), exact, by the recurrence over degrees of freedom.

    Source: Abramowitz and Stegun 26.4.4 and 26.4.5.

    >>> round(chi_square_tail(3.841, 1), 3), round(chi_square_tail(5.991, 2), 3)
    (0.05, 0.05)
    """
    if statistic <= 0:
        return 1.0
    half = statistic / 2
    if freedom % 2:
        tail = math.erfc(math.sqrt(half))
        term, start = math.exp(-half) * math.sqrt(half) * 2 / math.sqrt(math.pi), 1
    else:
        tail = math.exp(-half)
        term, start = math.exp(-half) * half, 2
    for k in range(start, freedom, 2):
        tail += term
        term *= statistic / (k + 2)
    return min(1.0, tail)


def cluster_bootstrap(
    values: NDArray[np.float64],
    clusters: Sequence[str],
    random: np.random.Generator,
    rounds: int = 1_000,
) -> tuple[float, float, float]:
    """Mean of the values with 95 % percentile bounds, whole clusters drawn with replacement.

    Pass paired differences and the customer of each to compare two policies.
    Source: Field and Welsh 2007 ("Bootstrapping clustered data").

    >>> random = np.random.default_rng(1)
    >>> mean, low, high = cluster_bootstrap(np.array([1.0, 1.0, 0.0]), ["a", "a", "b"], random)
    >>> round(mean, 3), low, high
    (0.667, 0.0, 1.0)
    """
    if not len(values):
        return 0.0, 0.0, 0.0
    names, index = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(index, values, minlength=len(names))
    counts = np.bincount(index, minlength=len(names))
    drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=rounds)
    means = (drawn @ sums) / (drawn @ counts)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def split_sample_size(rate: float, margin: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Requests per arm that a split test needs to show non-inferiority of a rate within a margin.

    n = 2 p (1−p) ((z₁₋α + z_power) / margin)²; source: Julious 2004, section 4.2.

    >>> split_sample_size(0.3, 0.05)
    1039
    """
    z = _NORMAL.inv_cdf(1 - alpha) + _NORMAL.inv_cdf(power)
    return math.ceil(2 * rate * (1 - rate) * (z / margin) ** 2)


def bisect_up(arl: Callable[[int], float], target: float, low: int = 1) -> int:
    """The smallest whole number at which a rising function reaches the target.

    >>> bisect_up(lambda h: 2.0**h, 1000.0)
    10
    """
    high = low
    while arl(high) < target:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if arl(middle) >= target else (middle, high)
    return low if arl(low) >= target else high
