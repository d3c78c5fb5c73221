"""What one window adds up for one kind of answer, and the figures that follow from the sums.

Everything is a sum or a count, so order does not matter and memory does not grow with traffic,
but for the counts of exposed items. It knows no windows and no clock.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec
import numpy as np

from core.classes import accuracy, macro_f1
from core.intervals import Z95, mean_interval, ratio_interval, wilson
from core.judgement import Judgement
from schemas.outcomes import JudgedList

_LATENCY_BASE = math.log(1.05)


class Figure(NamedTuple):
    """One measured value, how many observations it rests on, and its 95 % bounds."""

    name: str
    value: float
    n: int
    low: float
    high: float


class Sums(msgspec.Struct):
    """Count, sum and sum of squares of one value per request."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        """Takes in one value."""
        self.n += 1
        self.total += value
        self.squares += value * value


class Cell(msgspec.Struct):
    """Sums over the answers of one policy, version, arm and age within one window."""

    requests: int = 0
    hr5: Sums = msgspec.field(default_factory=Sums)
    hr10: Sums = msgspec.field(default_factory=Sums)
    recall10: Sums = msgspec.field(default_factory=Sums)
    ndcg10: Sums = msgspec.field(default_factory=Sums)
    mrr10: Sums = msgspec.field(default_factory=Sums)
    clicked: int = 0
    carted: int = 0
    bought: int = 0
    revenue: Sums = msgspec.field(default_factory=Sums)
    log_loss: Sums = msgspec.field(default_factory=Sums)
    calibration: list[float] = msgspec.field(default_factory=lambda: [0.0] * 5)
    degraded: int = 0
    latency: dict[int, int] = {}
    exposures: dict[str, int] = {}
    expected: Sums = msgspec.field(default_factory=Sums)
    by_token: int = 0
    by_window: int = 0
    confusion: dict[str, dict[str, int]] = {}

    def judged(self, verdict: Judgement) -> None:
        """Takes in the ranking quality of one list."""
        self.hr5.add(verdict.hr5)
        self.hr10.add(verdict.hr10)
        self.recall10.add(verdict.recall10)
        self.ndcg10.add(verdict.ndcg10)
        self.mrr10.add(verdict.mrr10)

    def responded(self, judged: JudgedList) -> None:
        """Takes in what the shopper did with one list: clicks, carts, purchases, revenue."""
        self.clicked += judged.clicks > 0
        self.carted += judged.carts > 0
        self.bought += any(judged.labels[: len(judged.item_ids)])
        self.revenue.add(judged.revenue)

    def served(self, judged: JudgedList) -> None:
        """Takes in how one list was answered and credited, and what it exposed."""
        self.degraded += judged.degraded
        self.by_token += judged.by_token
        self.by_window += judged.by_window
        bucket = math.ceil(math.log(max(judged.latency_ms, 1e-3)) / _LATENCY_BASE)
        self.latency[bucket] = self.latency.get(bucket, 0) + 1
        for item in judged.item_ids:
            self.exposures[item] = self.exposures.get(item, 0) + 1

    def classified(self, said: str, true: str) -> None:
        """Takes in one classifier's answer whose true class is known."""
        row = self.confusion.setdefault(true, {})
        row[said] = row.get(said, 0) + 1

    def predicted(self, log_odds: list[float], labels: list[int]) -> None:
        """Takes in how likely the shown items were said to be: one mean per request."""
        odds = [min(max(x, -30.0), 30.0) for x in log_odds]
        exp, log1p = math.exp, math.log1p
        chance = sum([1 / (1 + exp(-x)) for x in odds])
        loss = sum([log1p(exp(-x if y else x)) for x, y in zip(odds, labels, strict=True)])
        self.log_loss.add(loss / len(odds))
        positives = float(sum(labels))
        terms = (positives, chance, positives**2, positives * chance, chance**2)
        self.calibration = [a + b for a, b in zip(self.calibration, terms, strict=True)]


def quality(cell: Cell, names: tuple[str, ...]) -> list[Figure]:
    """Figures of ranking quality; `n` counts judged lists."""
    return [
        _share(name, sums.total, sums.n) if name.startswith("hr") else _mean(name, sums)
        for name, sums in ((name, getattr(cell, name)) for name in names)
        if sums.n
    ]


def response(cell: Cell) -> list[Figure]:
    """Click-through, cart and purchase rates; `n` counts requests."""
    n = cell.requests
    return [
        _share("ctr", cell.clicked, n),
        _share("cart_rate", cell.carted, n),
        _share("purchase_rate", cell.bought, n),
    ]


def service(cell: Cell, catalogue_size: int) -> list[Figure]:
    """Revenue, exposure, latency and degradation of served answers.

    Coverage and Gini describe all that was shown, without sampling: their bounds are the value.
    """
    n = cell.requests
    shown, credited = sum(cell.exposures.values()), cell.by_token + cell.by_window
    coverage = len(cell.exposures) / max(catalogue_size, len(cell.exposures), 1)
    inequality = gini(list(cell.exposures.values()))
    return [
        _mean("revenue_per_request", cell.revenue),
        _share("degraded_share", cell.degraded, n),
        Figure("coverage", coverage, shown, coverage, coverage),
        Figure("exposure_gini", inequality, shown, inequality, inequality),
        *(quantile(cell.latency, q) for q in (50, 95, 99)),
        *([_share("attributed_by_token", cell.by_token, credited)] if credited else []),
    ]


def probability(cell: Cell) -> list[Figure]:
    """Log loss and calibration ratio (bought over predicted) of served slots, by request."""
    if not cell.log_loss.n:
        return []
    a, b, aa, ab, bb = cell.calibration
    ratio, low, high = ratio_interval((a, b, aa, ab, bb))
    return [
        _mean("log_loss", cell.log_loss),
        Figure("calibration", ratio, cell.log_loss.n, low, high),
    ]


def classified(cell: Cell) -> list[Figure]:
    """Accuracy and macro-F1 of answers that name a class."""
    if not cell.confusion:
        return []
    right, n = accuracy(cell.confusion)
    value, low, high = macro_f1(cell.confusion)
    return [_share("accuracy", right, n), Figure("macro_f1", value, n, low, high)]


def expected(cell: Cell) -> list[Figure]:
    """Hit rate to be expected from calibrated scores, with the bounds of the rate that follows."""
    sums = cell.expected
    return [_share("hr10_estimated", sums.total, sums.n)] if sums.n else []


def gini(counts: list[int]) -> float:
    """Inequality of exposure over the items shown: 0 when all alike, near 1 when one has all.

    >>> gini([5, 5]), gini([]), round(gini([1, 1, 10]), 2)
    (0.0, 0.0, 0.5)
    """
    if not counts:
        return 0.0
    ordered = np.sort(np.asarray(counts, np.float64))
    ranks = np.arange(1, len(ordered) + 1)
    return float(2 * (ranks @ ordered) / (len(ordered) * ordered.sum()) - 1 - 1 / len(ordered))


def quantile(buckets: dict[int, int], percent: int) -> Figure:
    """A latency quantile from counts in buckets 5 % wide, with order-statistic bounds.

    Source for the bounds: Conover, Practical Nonparametric Statistics, section 3.2.

    >>> quantile({0: 90, 10: 10}, 50).value
    1.0
    """
    n, share = sum(buckets.values()), percent / 100
    half = Z95 * math.sqrt(n * share * (1 - share))
    low, value, high = (
        _at_rank(buckets, min(max(math.ceil(rank), 1), n))
        for rank in (n * share - half, n * share, n * share + half)
    )
    return Figure(f"latency_p{percent}", value, n, low, high)


def _at_rank(buckets: dict[int, int], rank: int) -> float:
    passed = 0
    for bucket in sorted(buckets):
        passed += buckets[bucket]
        if passed >= rank:
            return math.exp(bucket * _LATENCY_BASE)
    return 0.0


def _share(name: str, successes: float, n: int) -> Figure:
    return Figure(name, successes / n if n else 0.0, n, *wilson(successes, n))


def _mean(name: str, sums: Sums) -> Figure:
    value, low, high = mean_interval(sums.total, sums.squares, sums.n)
    return Figure(name, value, sums.n, low, high)
