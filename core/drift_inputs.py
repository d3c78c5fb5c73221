"""Charts over baskets that alarm when what is bought moves away from what the champion knows.

An item is unknown to a champion when nobody had bought it up to the end of its training data.
Items of one basket come together, so the basket is the observation, never the item.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.cusum import normal_threshold
from core.drift_types import Observed, Standing, standing_since

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
REFERENCE_MS = 28 * DAY_MS
MINIMUM_BASKETS = 150
_REMEMBERED_MS = 63 * DAY_MS
_MOST_BASKETS = 8_000
_MOST_REFERENCE = 1_500
_MOST_CURRENT = 1_000
_BASELINE_BASKETS = 400
_LEAST_BASELINE = 200
_PERMUTATIONS = 200
_SHIFT = 0.5
"""The rise of the mean, in standard deviations of one basket, that the chart is tuned to find."""
_CLIP = 3.0


class Basket(msgspec.Struct, frozen=True, array_like=True):
    """One remembered order: when, what (numbers of items), and the share never bought before."""

    at_ms: int
    items: list[int]
    novel: float


class ItemMemory(msgspec.Struct):
    """When each item was first bought, and the newest baskets (nine weeks, at most 8,000)."""

    number: dict[str, int] = {}
    first_ms: list[int] = []
    baskets: list[Basket] = []

    def add(self, item_ids: Sequence[str], at_ms: int) -> list[int]:
        """Takes in one basket and returns its items as numbers, each once."""
        numbers, novel = [], 0
        for item in dict.fromkeys(item_ids):
            number = self.number.get(item)
            if number is None:
                number = self.number[item] = len(self.first_ms)
                self.first_ms.append(at_ms)
                novel += 1
            numbers.append(number)
        if numbers:
            self.baskets.append(Basket(at_ms, numbers, novel / len(numbers)))
            self._forget(at_ms)
        return numbers

    def unknown_share(self, numbers: list[int], data_until_ms: int) -> float:
        """Share of these items that nobody had bought up to `data_until_ms`.

        >>> memory = ItemMemory()
        >>> _ = memory.add(["a"], 1)
        >>> memory.unknown_share(memory.add(["a", "b"], 9), data_until_ms=5)
        0.5
        """
        unknown = sum(self.first_ms[number] > data_until_ms for number in numbers)
        return unknown / len(numbers)

    def baseline(self, data_until_ms: int) -> list[float]:
        """Shares of never-bought items in the newest 400 baskets up to that time."""
        shares = [basket.novel for basket in self.baskets if basket.at_ms <= data_until_ms]
        return shares[-_BASELINE_BASKETS:]

    def reference(self, data_until_ms: int) -> list[list[int]]:
        """The baskets of the four weeks up to that time, the newest 1,500."""
        start = data_until_ms - REFERENCE_MS
        found = [b.items for b in self.baskets if start < b.at_ms <= data_until_ms]
        return found[-_MOST_REFERENCE:]

    def _forget(self, at_ms: int) -> None:
        if len(self.baskets) < _MOST_BASKETS and self.baskets[0].at_ms > at_ms - _REMEMBERED_MS:
            return
        if len(self.baskets) % 256 == 0 or len(self.baskets) >= _MOST_BASKETS + 256:
            kept = [b for b in self.baskets if b.at_ms > at_ms - _REMEMBERED_MS]
            self.baskets = kept[-_MOST_BASKETS:]


class UnknownCusum(msgspec.Struct):
    """CUSUM on a basket's share of unknown items, standardised by baskets before the data's end.

    Before that end an item is new once and then known, after it unknown ones stay so: on a
    stationary stream both have the same mean at the end. The baseline mean is raised by two
    standard errors, and a single basket counts at most three standard deviations.
    """

    data_until_ms: int
    baseline: list[float]
    budget: float
    mean: float = 0.0
    deviation: float = 0.0
    statistic: float = 0.0
    n: int = 0
    run_n: int = 0
    run_sum: float = 0.0
    raised_at: int | None = None

    def update(self, share: float) -> Observed | None:
        """Takes in the unknown share of one basket; figures when the threshold is crossed."""
        if not self.deviation:
            self._learn_baseline(share)
            return None
        self.n += 1
        self.run_n += 1
        self.run_sum += share
        guard = 2 * self.deviation / math.sqrt(len(self.baseline))
        z = min((share - self.mean - guard) / self.deviation, _CLIP)
        self.statistic = max(0.0, min(self.statistic + z - _SHIFT / 2, 2 * self.threshold))
        if self.statistic == 0:
            self.run_n, self.run_sum, self.raised_at = 0, 0.0, None
        if self.statistic < self.threshold or self.raised_at is not None:
            return None
        self.raised_at = self.n
        return self._observed(guard)

    @property
    def threshold(self) -> float:
        """The threshold that the budget gives."""
        return normal_threshold(_SHIFT / 2, self.budget)

    def standing(self) -> Standing:
        """How the chart stands since its alarm."""
        return standing_since(self.statistic >= self.threshold, self.n, self.raised_at)

    def _learn_baseline(self, share: float) -> None:
        if len(self.baseline) < _LEAST_BASELINE:
            self.baseline.append(share)
            return
        values = np.asarray(self.baseline)
        self.mean = float(values.mean())
        self.deviation = max(float(values.std(ddof=1)), 1 / len(values))

    def _observed(self, guard: float) -> Observed:
        drift = _SHIFT / 2 + self.threshold / self.n
        return Observed(
            statistic=self.statistic,
            threshold=self.threshold,
            baseline=self.mean,
            current=self.run_sum / self.run_n,
            n=self.n,
            minimum_detectable=guard + drift * self.deviation,
        )


class PopularityTest(msgspec.Struct):
    """Weekly Jensen–Shannon divergence of item popularity against the weeks before the data's end.

    The threshold is the mean of the divergence over permutations of baskets between both sides plus
    the normal quantile that the budget leaves for one test of that many baskets; fewer than 150
    baskets on a side are not tested, the week grows until there are.
    """

    data_until_ms: int
    budget: float
    seed: int
    reference: list[list[int]] = []
    current: list[list[int]] = []
    ends_ms: int = 0
    tests: int = 0
    observed: Observed | None = None

    def update(self, items: list[int], at_ms: int) -> Observed | None:
        """Takes in one basket; figures when the week just ended differs and the last did not."""
        self.ends_ms = self.ends_ms or max(self.data_until_ms, at_ms - 1) + WEEK_MS
        found = None
        if at_ms > self.ends_ms and len(self.current) >= MINIMUM_BASKETS:
            found = self._test()
            self.current, self.ends_ms = [], max(self.ends_ms, at_ms - 1) + WEEK_MS
        if len(self.current) < _MOST_CURRENT:
            self.current.append(items)
        return found

    def standing(self) -> Standing:
        """Over while the newest test is; the next test either repeats the alarm or ends it."""
        return Standing(self.observed is not None, self.tests, self.observed is None)

    def _test(self) -> Observed | None:
        if len(self.reference) < MINIMUM_BASKETS:
            self.reference = self.current
            return None
        random = np.random.default_rng([self.seed, self.ends_ms])
        statistic, null = permuted_divergence(self.reference, self.current, random)
        n = len(self.current)
        quantile = NormalDist().inv_cdf(1 - min(0.5, n / self.budget))
        threshold = float(null.mean() + quantile * null.std(ddof=1))
        was_over, self.observed = self.observed is not None, None
        if statistic <= threshold:
            self.tests = 0
            return None
        self.tests += 1
        self.observed = Observed(
            statistic=statistic,
            threshold=threshold,
            baseline=float(null.mean()),
            current=statistic,
            n=n,
            minimum_detectable=threshold - float(null.mean()),
        )
        return None if was_over else self.observed


def permuted_divergence(
    reference: list[list[int]], current: list[list[int]], random: np.random.Generator
) -> tuple[float, NDArray[np.float64]]:
    """Divergence of item popularity in bits, and its values with baskets permuted between sides.

    >>> same = [[0, 1], [1, 2], [0, 2]] * 50
    >>> value, null = permuted_divergence(same, same, np.random.default_rng(1))
    >>> value, bool(null.mean() > 0)
    (0.0, True)
    """
    baskets = reference + current
    lengths = [len(basket) for basket in baskets]
    _, columns = np.unique(np.concatenate([np.asarray(b) for b in baskets]), return_inverse=True)
    matrix = np.zeros((len(baskets), int(columns.max()) + 1), np.float32)
    matrix[np.repeat(np.arange(len(baskets)), lengths), columns] = 1.0
    members = np.zeros((_PERMUTATIONS + 1, len(baskets)), np.float32)
    members[0, len(reference) :] = 1.0
    for row in members[1:]:
        row[random.permutation(len(baskets))[: len(current)]] = 1.0
    now = (members @ matrix).astype(np.float64)
    then = matrix.sum(axis=0) - now
    values = divergence(then, now)
    return float(values[0]), values[1:]


def divergence(then: NDArray[np.float64], now: NDArray[np.float64]) -> NDArray[np.float64]:
    """Jensen–Shannon divergence in bits between counts, row by row, shape (rows,).

    Source: Lin 1991.

    >>> divergence(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])).tolist()
    [1.0]
    """
    p = then / then.sum(axis=1, keepdims=True)
    q = now / now.sum(axis=1, keepdims=True)
    return np.asarray(_entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2)


def _entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-(p * np.log2(np.where(p > 0, p, 1.0))).sum(axis=1))
