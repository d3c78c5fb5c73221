"""Detectors on simulated rates: steady errors, falling clicks, and two arms that are equal."""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river.drift import ADWIN

from core.cusum import BernoulliChart, bernoulli_arl, rare_chart
from core.drift_clicks import RELATIVE_DROP, ClickCusum
from core.drift_scan import ErrorScan
from core.intervals import Z95, confidence_sequence, msprt

BEFORE, AFTER = 0.030, 0.024
LIST = 10
STREAMS = 2_000
STEADY_SLOTS = 100_000
LOOKS = 100


def falling_clicks(budget: float) -> dict[str, Any]:
    """Slots from the fall of the click rate to the alarm, and false alarms where it does not fall.

    `median` is for a baseline that is known and a chart in use since 10,000 slots; `from_zero` for
    a chart begun at the fall; `learned_*` for the product's whole detector, baseline and all, with
    that many slots before the fall.
    """
    chart = rare_chart(BEFORE, RELATIVE_DROP, budget)
    in_use, fresh = _delays(chart, 10_000), _delays(chart, 0)
    alarms = _steady_alarms(chart, 100)
    exact = bernoulli_arl(chart.up, chart.down, chart.threshold, 1 - BEFORE)
    return {
        "median": float(np.median(in_use)),
        "false_alarms_per_million": round(1e6 * alarms / (100 * 1e6), 3),
        "exact_false_alarms_per_million": round(1e6 / exact, 3),
        "slots_without_a_fall": 100_000_000,
        "median_from_zero": float(np.median(fresh)),
        "learned_100k": _learned(budget, 100_000, 60),
        "learned_1m": _learned(budget, 1_000_000, 12),
        "river_adwin_median": _adwin_median(100_000, 20),
        "threshold": chart.threshold,
        "down": chart.down,
    }


def _delays(chart: BernoulliChart, before: int) -> NDArray[np.int64]:
    """Slots from the fall to the alarm, of 2,000 streams; those alarmed before start at zero."""
    random = np.random.default_rng(1)
    state = np.zeros(STREAMS, np.int64)
    for _ in range(before):
        state = np.where(
            random.random(STREAMS) < BEFORE, np.maximum(state - chart.down, 0), state + 1
        )
        state[state >= chart.threshold] = 0
    delays = np.zeros(STREAMS, np.int64)
    at = 0
    while not delays.all():
        at += 1
        state = np.where(
            random.random(STREAMS) < AFTER, np.maximum(state - chart.down, 0), state + 1
        )
        delays[(delays == 0) & (state >= chart.threshold)] = at
    return delays


def _steady_alarms(chart: BernoulliChart, millions: int) -> int:
    """Alarms in that many million slots at the rate of before, 1,000 streams side by side."""
    random = np.random.default_rng(2)
    side = 1_000
    state = np.zeros(side, np.int32)
    alarms = 0
    for _ in range(millions * 1_000_000 // side):
        clicked = random.random(side, np.float32) < BEFORE
        state = np.where(clicked, np.maximum(state - chart.down, 0), state + 1)
        over = state >= chart.threshold
        if over.any():
            alarms += int(over.sum())
            state[over] = 0
    return alarms


def _learned(budget: float, before: int, streams: int) -> dict[str, Any]:
    """The product's detector on lists of ten: median delay, and alarms before the fall."""
    random = np.random.default_rng([3, before])
    delays, alarms = [], 0
    for _ in range(streams):
        chart = ClickCusum(budget)
        for clicks in random.binomial(LIST, BEFORE, before // LIST).tolist():
            if chart.update(LIST, clicks) is not None:
                alarms += 1
                chart.statistic, chart.raised_at = 0, None
        at = 0
        while chart.update(LIST, int(random.binomial(LIST, AFTER))) is None:
            at += LIST
        delays.append(at + LIST)
    return {
        "median": float(median(delays)),
        "false_alarms": alarms,
        "slots_without_a_fall": before * streams,
    }


def _adwin_median(before: int, streams: int) -> float:
    random = np.random.default_rng(4)
    delays = []
    for _ in range(streams):
        window: Any = ADWIN()  # type: ignore[no-untyped-call]
        for click in (random.random(before) < BEFORE).tolist():
            window.update(int(click))
        at, found = 0, False
        while not found and at < 200_000:
            at += 1
            window.update(int(random.random() < AFTER))
            found = bool(window.drift_detected)
        delays.append(at)
    return float(median(delays))


def steady_errors() -> dict[str, Any]:
    """Alarms of the scan as a share of its budget, on steady rates at one in ten thousand."""
    budget, n = 10_000.0, 500_000
    random = np.random.default_rng(5)
    shares = {}
    for rate in (0.03, 0.15, 0.4):
        chart, alarms = ErrorScan(budget), 0
        for error in (random.random(n) < rate).tolist():
            if chart.update(error) is not None:
                alarms, chart = alarms + 1, ErrorScan(budget)
        shares[f"{rate:g}"] = round(alarms * budget / n, 3)
    return {"scan_alarms_of_budget": shares, "budget": budget, "observations_each": n}


def equal_arms(tests: int = 2_000, each: int = 100, rate: float = 0.3) -> dict[str, float]:
    """Share of tests of two equal arms that any of 100 looks calls different at the 5 % level.

    The values are paired differences of hits, one per request, as shadow lists are judged.
    """
    random = np.random.default_rng(6)
    false = {"confidence_sequence": 0, "msprt": 0, "z_test": 0}
    for _ in range(tests):
        hits = random.random((2, LOOKS * each)) < rate
        values = hits[0].astype(float) - hits[1]
        totals = values.cumsum()[each - 1 :: each].tolist()
        squares = (values**2).cumsum()[each - 1 :: each].tolist()
        looks = [
            (t, s, each * (i + 1)) for i, (t, s) in enumerate(zip(totals, squares, strict=True))
        ]
        false["confidence_sequence"] += any(_excludes_zero(*look) for look in looks)
        false["msprt"] += any(msprt(t, n, s / n, 0.05**2) < 0.05 for t, s, n in looks)
        false["z_test"] += any(abs(t) > Z95 * s**0.5 for t, s, _ in looks)
    return {name: round(count / tests, 4) for name, count in false.items()}


def _excludes_zero(total: float, squares: float, n: int) -> bool:
    low, high = confidence_sequence(total, squares, n)
    return low > 0 or high < 0
