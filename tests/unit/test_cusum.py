"""Charts keep their false-alarm budget, by exact computation and by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.cusum import bernoulli_arl, bernoulli_chart, normal_arl, normal_threshold


def _run_lengths(up: int, down: int, threshold: int, rate: float, runs: int) -> list[int]:
    random = np.random.default_rng(11)
    lengths = []
    for _ in range(runs):
        statistic, n = 0, 0
        while statistic < threshold:
            n += 1
            statistic = max(0, statistic + (up if random.random() < rate else -down))
        lengths.append(n)
    return lengths


def test_markov_chain_gives_the_simulated_mean_run_length() -> None:
    chart = bernoulli_chart(0.3, 0.5, 500.0)
    lengths = _run_lengths(chart.up, chart.down, chart.threshold, 0.3, 400)
    exact = bernoulli_arl(chart.up, chart.down, chart.threshold, 0.3)
    assert np.mean(lengths) == pytest.approx(exact, rel=0.15)


@settings(max_examples=15, deadline=None)
@given(rate=st.integers(5, 95), budget=st.sampled_from([1e3, 1e5, 1e6]))
def test_the_threshold_keeps_the_budget_at_every_rate(rate: int, budget: float) -> None:
    p0 = rate / 100
    chart = bernoulli_chart(p0, 1 - 0.8 * (1 - p0), budget)
    assert p0 < chart.down / (chart.up + chart.down) < chart.p1
    if chart.threshold <= 300:
        assert bernoulli_arl(chart.up, chart.down, chart.threshold, p0) >= budget


@settings(max_examples=15, deadline=None)
@given(rate=st.integers(10, 60))
def test_a_lower_rate_alarms_later_still(rate: int) -> None:
    chart = bernoulli_chart(rate / 100, rate / 100 + 0.15, 1e4)
    if chart.threshold <= 300:
        at = bernoulli_arl(chart.up, chart.down, chart.threshold, rate / 100)
        assert bernoulli_arl(chart.up, chart.down, chart.threshold, rate / 100 - 0.05) > at


def test_siegmund_agrees_with_simulation_and_sets_the_threshold() -> None:
    random = np.random.default_rng(2)
    threshold = normal_threshold(0.5, 300.0)
    lengths = []
    for _ in range(300):
        statistic, n = 0.0, 0
        while statistic < threshold:
            n += 1
            statistic = max(0.0, statistic + random.normal() - 0.5)
        lengths.append(n)
    assert normal_arl(0.5, threshold) >= 300.0
    assert np.mean(lengths) == pytest.approx(300.0, rel=0.2)
