"""Charts over yes-or-no observations that alarm when the rate of "yes" rises: misses, no basket.

The baseline is the rate of a chart's first observations, raised to its upper 95 % bound, so that
luck at the start does not become an alarm later. A falling rate never alarms.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from core.adwin import ADWIN
from core.cusum import BernoulliChart, bernoulli_chart
from core.drift_types import Observed, Standing, standing_since
from core.intervals import wilson

BASELINE_N = 200
RELATIVE_DROP = 0.2
"""The loss of hit rate, relative to the baseline's, that the chart is tuned to find."""

_ONE_SIDED_95 = 1.6448536269514722
_ADWIN_CLOCK = 32
_MOST_REMEMBERED = 65_536


class ErrorCusum(msgspec.Struct):
    """Bernoulli CUSUM on misses; its threshold follows from the budget and the baseline."""

    budget: float
    relative_drop: float = RELATIVE_DROP
    baseline_n: int = 0
    baseline_events: int = 0
    chart: BernoulliChart | None = None
    statistic: int = 0
    n: int = 0
    run_n: int = 0
    run_events: int = 0
    raised_at: int | None = None

    def update(self, event: bool) -> Observed | None:
        """Takes in one observation; figures when the statistic crosses the threshold."""
        if self.chart is None:
            self._learn_baseline(event)
            return None
        self.n += 1
        self.run_n += 1
        self.run_events += event
        step = self.chart.up if event else -self.chart.down
        self.statistic = max(0, min(self.statistic + step, 2 * self.chart.threshold))
        if self.statistic == 0:
            self.run_n, self.run_events, self.raised_at = 0, 0, None
        if self.statistic < self.chart.threshold or self.raised_at is not None:
            return None
        self.raised_at = self.n
        return self._observed(self.chart)

    def standing(self) -> Standing:
        """How the chart stands since its alarm."""
        over = self.chart is not None and self.statistic >= self.chart.threshold
        return standing_since(over, self.n, self.raised_at)

    def _learn_baseline(self, event: bool) -> None:
        self.baseline_n += 1
        self.baseline_events += event
        if self.baseline_n < BASELINE_N:
            return
        _, high = wilson(self.baseline_events, self.baseline_n, _ONE_SIDED_95)
        tolerated = min(max(math.ceil(high * 100) / 100, 0.01), 0.99)
        tuned = 1 - (1 - self.relative_drop) * (1 - tolerated)
        self.chart = bernoulli_chart(tolerated, tuned, self.budget)

    def _observed(self, chart: BernoulliChart) -> Observed:
        unit = chart.up + chart.down
        return Observed(
            statistic=self.statistic / unit,
            threshold=chart.threshold / unit,
            baseline=self.baseline_events / self.baseline_n,
            current=self.run_events / self.run_n,
            n=self.n,
            minimum_detectable=chart.minimum_detectable(self.n),
        )


class Reference(msgspec.Struct):
    """The champion's hits less those of a rule that needs no training, on the same requests.

    When both miss more, the requests became harder and no training helps. The newest 400
    differences are held against the first 200.
    """

    base: list[int] = []
    recent: list[int] = []

    def add(self, difference: int) -> None:
        """Takes in one request that both answered."""
        if len(self.base) < BASELINE_N:
            self.base.append(difference)
            return
        self.recent.append(difference)
        del self.recent[: -2 * BASELINE_N]

    def lost_ground(self) -> bool | None:
        """Whether the champion fell against the rule at the 5 % level; None with too few pairs.

        >>> reference = Reference(base=[1, 0] * 100, recent=[0, 0] * 50)
        >>> reference.lost_ground()
        True
        """
        if len(self.base) < BASELINE_N or len(self.recent) < BASELINE_N // 2:
            return None
        (base, base_error), (recent, recent_error) = _mean(self.base), _mean(self.recent)
        return recent - base < -_ONE_SIDED_95 * math.sqrt(base_error + recent_error)


class LabelCusum(ErrorCusum):
    """The same chart on answers that no purchase followed: tracking or demand, not the model."""


class ErrorWindow(msgspec.Struct):
    """ADWIN on misses, kept one-sided: a cut counts only if the rate after it is higher.

    Its δ is the budgeted chance of a false cut per check. River's window is rebuilt from the
    remembered observations when state is loaded; after 65,536 of them it starts over.
    """

    budget: float
    seen: bytearray = msgspec.field(default_factory=bytearray)
    n: int = 0
    raised_at: int | None = None
    before: float = 0.0
    window: Any = None

    def update(self, event: bool) -> Observed | None:
        """Takes in one observation; figures at the first cut to a higher rate."""
        window = self._window()
        self.n += 1
        earlier, width = float(window.estimation), int(window.width)
        window.update(int(event))
        self.seen.append(event)
        if len(self.seen) >= _MOST_REMEMBERED:
            self.seen, self.window = bytearray(), None
        if not window.drift_detected:
            return None
        if window.estimation <= earlier:
            self.raised_at = None
            return None
        if self.raised_at is not None:
            return None
        self.raised_at, self.before = self.n, earlier
        return self._observed(window, width)

    def standing(self) -> Standing:
        """How the window stands since its alarm: over while its mean is above the former one."""
        if self.raised_at is None:
            return Standing(False, 0, True)
        return Standing(
            self._window().estimation > self.before, self.n - self.raised_at, quiet=False
        )

    def _window(self) -> Any:
        if self.window is None:
            delta = min(0.5, _ADWIN_CLOCK / self.budget)
            self.window = ADWIN(delta=delta, clock=_ADWIN_CLOCK)  # type: ignore[no-untyped-call]
            for event in self.seen:
                self.window.update(event)
        return self.window

    def _observed(self, window: Any, width: int) -> Observed:
        current, kept = float(window.estimation), max(int(window.width), 1)
        harmonic = 1 / (1 / max(width - kept, 1) + 1 / kept)
        log_term = math.log(2 * math.log(max(width, 3)) * self.budget / _ADWIN_CLOCK)
        variance = self.before * (1 - self.before)
        cut = math.sqrt(2 * variance * log_term / harmonic) + 2 * log_term / (3 * harmonic)
        return Observed(
            statistic=current - self.before,
            threshold=cut,
            baseline=self.before,
            current=current,
            n=self.n,
            minimum_detectable=cut,
        )


def _mean(values: list[int]) -> tuple[float, float]:
    """Mean and the squared standard error of it."""
    n = len(values)
    mean = sum(values) / n
    return mean, sum((value - mean) ** 2 for value in values) / (n - 1) / n
