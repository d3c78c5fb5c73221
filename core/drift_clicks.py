"""A chart on the slots of judged lists that alarms when clicks become rarer; never when more come.

A click is rare, so many slots are needed whatever the detector: at 3 % a fall by a fifth takes
about 7,000 of them. The baseline is all that was seen while the chart rested at zero.
"""

from __future__ import annotations

import msgspec

from core.cusum import BernoulliChart, rare_chart
from core.drift_types import Observed, Standing, standing_since
from core.intervals import wilson

BASELINE_CLICKS = 400
RELATIVE_DROP = 0.2
"""The loss of clicks, relative to the baseline's, that the chart is tuned to find."""
_ONE_SIDED_95 = 1.6448536269514722
_HIGHEST_RATE = 0.5


class ClickCusum(msgspec.Struct):
    """Bernoulli CUSUM on slots without a click; it begins once 400 clicks have been seen.

    It tolerates the lower 95 % bound of the baseline's click rate. Each time the baseline's clicks
    have doubled, at the next zero, it is drawn anew with the closer bound.
    """

    budget: float
    relative_drop: float = RELATIVE_DROP
    slots: int = 0
    clicks: int = 0
    drawn_at: int = 0
    chart: BernoulliChart | None = None
    statistic: int = 0
    n: int = 0
    run_n: int = 0
    run_clicks: int = 0
    raised_at: int | None = None

    def update(self, slots: int, clicks: int) -> Observed | None:
        """Takes in one list; figures when the statistic crosses the threshold."""
        clicks = min(clicks, slots)
        if self.chart is None:
            self._learn(slots, clicks)
            return None
        self.n += slots
        self.run_n += slots
        self.run_clicks += clicks
        step = slots - clicks - self.chart.down * clicks
        self.statistic = max(0, min(self.statistic + step, 2 * self.chart.threshold))
        if self.statistic == 0:
            self._learn(self.run_n, self.run_clicks)
            self.run_n, self.run_clicks, self.raised_at = 0, 0, None
            return None
        if self.statistic < self.chart.threshold or self.raised_at is not None:
            return None
        self.raised_at = self.n
        return self._observed(self.chart)

    def standing(self) -> Standing:
        """How the chart stands since its alarm."""
        over = self.chart is not None and self.statistic >= self.chart.threshold
        return standing_since(over, self.n, self.raised_at)

    def _learn(self, slots: int, clicks: int) -> None:
        self.slots += slots
        self.clicks += clicks
        if self.clicks < max(BASELINE_CLICKS, 2 * self.drawn_at):
            return
        self.drawn_at = self.clicks
        low, _ = wilson(self.clicks, self.slots, _ONE_SIDED_95)
        # In four digits: equal baselines then share a chart, and a chart is drawn but once.
        tolerated = min(float(f"{low:.4g}"), _HIGHEST_RATE)
        self.chart = rare_chart(tolerated, self.relative_drop, self.budget)

    def _observed(self, chart: BernoulliChart) -> Observed:
        unit = chart.up + chart.down
        return Observed(
            statistic=self.statistic / unit,
            threshold=chart.threshold / unit,
            baseline=1 - self.clicks / self.slots,
            current=1 - self.run_clicks / self.run_n,
            n=self.n,
            minimum_detectable=chart.minimum_detectable(self.n),
        )
