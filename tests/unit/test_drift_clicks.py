"""Clicks that become rarer are found within the budget; more clicks never alarm."""

import msgspec
import numpy as np
import pytest

from core.cusum import bernoulli_arl, rare_chart, rare_threshold
from core.drift_clicks import BASELINE_CLICKS, ClickCusum


def _alarms(chart: ClickCusum, rates: list[tuple[int, float]], seed: int) -> list[int]:
    random = np.random.default_rng(seed)
    clicks = np.concatenate([random.binomial(10, rate, lists) for lists, rate in rates]).tolist()
    return [at for at, count in enumerate(clicks, 1) if chart.update(10, count) is not None]


def test_the_threshold_is_exact_for_its_budget() -> None:
    chart = rare_chart(0.05, 0.3, 10_000.0)
    exact = [bernoulli_arl(1, chart.down, chart.threshold - less, 0.95) for less in (0, 1)]
    assert exact[0] >= 10_000 > exact[1]


@pytest.mark.parametrize("rate", [0.001, 0.03, 0.2, 0.5])
def test_the_threshold_rises_with_the_budget(rate: float) -> None:
    down = rare_chart(rate, 0.2, 1e4).down
    heights = [rare_threshold(rate, down, budget) for budget in (1e4, 1e5, 1e6)]
    assert heights == sorted(set(heights))


@pytest.mark.parametrize("seed", range(3))
def test_a_fall_by_a_third_is_found(seed: int) -> None:
    alarms = _alarms(ClickCusum(1e6), [(20_000, 0.03), (2_000, 0.02)], seed)
    assert len(alarms) == 1
    assert 20_000 < alarms[0] <= 21_000


@pytest.mark.parametrize("seed", range(3))
def test_more_clicks_never_alarm(seed: int) -> None:
    assert _alarms(ClickCusum(1e6), [(20_000, 0.03), (20_000, 0.05)], seed) == []


def test_steady_clicks_stay_within_the_budget() -> None:
    alarms = sum(len(_alarms(ClickCusum(1e5), [(10_000, 0.03)], seed)) for seed in range(20))
    assert alarms <= 20


def test_a_shop_without_clicks_is_never_judged() -> None:
    chart = ClickCusum(1e6)
    assert _alarms(chart, [(1_000, 0.0)], 1) == []
    assert chart.chart is None


def test_the_baseline_grows_while_nothing_falls() -> None:
    chart = ClickCusum(1e6)
    _alarms(chart, [(20_000, 0.03)], 2)
    assert chart.drawn_at >= 8 * BASELINE_CLICKS
    assert chart.chart is not None
    assert 1 - chart.chart.p0 == pytest.approx(0.03, rel=0.06)


def test_evidence_is_the_share_of_slots_without_a_click() -> None:
    chart, found = ClickCusum(1e6), None
    random = np.random.default_rng(5)
    for at in range(23_000):
        found = chart.update(10, int(random.binomial(10, 0.03 if at < 20_000 else 0.02))) or found
    assert found is not None
    assert found.baseline == pytest.approx(0.97, abs=0.002)
    assert 0.004 < found.effect < 0.02
    assert 0 < found.minimum_detectable < 0.01
    assert chart.standing().over


def test_a_chart_goes_on_exactly_from_saved_state() -> None:
    kept = ClickCusum(1e6)
    _alarms(kept, [(9_000, 0.03)], 6)
    loaded = msgspec.msgpack.decode(msgspec.msgpack.encode(kept), type=ClickCusum)
    assert _alarms(kept, [(5_000, 0.02)], 7) == _alarms(loaded, [(5_000, 0.02)], 7)
    assert kept == loaded
