"""Detectors fire when things get worse, not when they get better, and not by luck."""

import numpy as np
import pytest

from core.drift import Drift
from core.drift_errors import BASELINE_N, ErrorCusum, ErrorWindow
from core.drift_inputs import ItemMemory, PopularityTest, UnknownCusum, permuted_divergence
from core.settings import DAY_MS, HOUR_MS, Settings
from schemas.outcomes import BasketSeen


def _feed(chart: ErrorCusum | ErrorWindow, rates: list[tuple[int, float]], seed: int) -> list[int]:
    random = np.random.default_rng(seed)
    alarms, at = [], 0
    for n, rate in rates:
        for event in random.random(n) < rate:
            at += 1
            if chart.update(bool(event)) is not None:
                alarms.append(at)
    return alarms


@pytest.mark.parametrize("seed", range(5))
def test_error_cusum_finds_a_fifth_fewer_hits(seed: int) -> None:
    alarms = _feed(ErrorCusum(budget=1e6), [(2_000, 0.30), (2_000, 0.50)], seed)
    assert alarms
    assert 2_000 < alarms[0] < 2_600


@pytest.mark.parametrize("chart", [ErrorCusum(budget=1e6), ErrorWindow(budget=1e6)])
def test_error_detectors_stay_silent_when_the_model_improves(
    chart: ErrorCusum | ErrorWindow,
) -> None:
    assert _feed(chart, [(3_000, 0.70), (3_000, 0.40), (3_000, 0.10)], 1) == []


def test_error_window_finds_a_large_rise() -> None:
    alarms = _feed(ErrorWindow(budget=1e6), [(1_500, 0.3), (1_500, 0.6)], 2)
    assert alarms
    assert alarms[0] > 1_500


def test_false_alarms_stay_within_the_budget_on_steady_streams() -> None:
    steps, alarms = 0, 0
    for seed in range(60):
        chart = ErrorCusum(budget=2_000.0)
        alarms += len(_feed(chart, [(2_000 + BASELINE_N, 0.4)], seed))
        steps += 2_000
    assert alarms <= 1.2 * steps / 2_000


def test_adwin_keeps_a_rate_of_one_in_a_thousand_far_below_it() -> None:
    alarms = sum(
        len(_feed(ErrorWindow(budget=1_000.0), [(2_000, 0.4)], seed)) for seed in range(20)
    )
    assert alarms <= 20


def test_adwin_goes_on_exactly_after_its_window_is_rebuilt() -> None:
    kept, rebuilt = ErrorWindow(budget=1e4), ErrorWindow(budget=1e4)
    random = np.random.default_rng(8)
    for event in random.random(700) < 0.3:
        kept.update(bool(event))
        rebuilt.update(bool(event))
    rebuilt.window = None
    found = [
        (kept.update(bool(event)), rebuilt.update(bool(event)))
        for event in random.random(900) < 0.8
    ]
    assert all(one == other for one, other in found)
    assert any(one is not None for one, _ in found)


def test_evidence_names_the_drop_that_the_volume_can_show() -> None:
    chart = ErrorCusum(budget=1e6)
    random = np.random.default_rng(0)
    found = None
    for i in range(4_000):
        found = chart.update(bool(random.random() < (0.3 if i < 1_000 else 0.6))) or found
    assert found is not None
    assert found.baseline == pytest.approx(0.3, abs=0.08)
    assert found.current > found.baseline + 0.1
    assert 0 < found.minimum_detectable < 0.3


def test_unknown_items_alarm_on_a_rise_and_not_on_a_fall() -> None:
    random = np.random.default_rng(4)
    baseline = random.beta(1, 30, 400).tolist()
    same, more, less = (UnknownCusum(0, list(baseline), 1e6) for _ in range(3))
    assert not any(same.update(float(x)) for x in random.beta(1, 30, 8_000))
    assert not any(less.update(float(x)) for x in random.beta(1, 90, 8_000))
    assert any(more.update(float(x)) for x in random.beta(3, 30, 300))


def test_a_single_odd_basket_is_no_drift() -> None:
    chart = UnknownCusum(0, [0.0, 0.1] * 200, 1e6)
    values = [0.0, 0.1] * 20 + [1.0] + [0.0, 0.1] * 20
    assert not any(chart.update(value) for value in values)


def test_an_item_is_unknown_until_bought_before_the_data_ends() -> None:
    memory = ItemMemory()
    memory.add(["a", "b"], 10)
    items = memory.add(["a", "c", "c"], 20)
    assert memory.unknown_share(items, data_until_ms=15) == 0.5
    assert memory.unknown_share(items, data_until_ms=20) == 0.0


def _baskets(random: np.random.Generator, n: int, first_item: int) -> list[list[int]]:
    return [(first_item + random.zipf(1.6, 8) % 200).tolist() for _ in range(n)]


def test_permutation_null_holds_the_statistic_when_nothing_changed() -> None:
    random = np.random.default_rng(6)
    over = 0
    for seed in range(10):
        statistic, null = permuted_divergence(
            _baskets(random, 200, 0), _baskets(random, 200, 0), np.random.default_rng(seed)
        )
        over += statistic > null.mean() + 3.4 * null.std()
    assert over == 0


def test_popularity_test_alarms_when_other_items_sell_and_waits_for_enough_baskets() -> None:
    random = np.random.default_rng(9)
    test = PopularityTest(0, 1e6, 7, reference=_baskets(random, 300, 0))
    assert not any(
        test.update(basket, HOUR_MS * i) for i, basket in enumerate(_baskets(random, 400, 0), 1)
    )
    start = 400 * HOUR_MS
    moved = [
        test.update(basket, start + HOUR_MS * i)
        for i, basket in enumerate(_baskets(random, 600, 60), 1)
    ]
    found = [one for one in moved if one is not None]
    assert len(found) == 1
    assert found[0].n >= 150


def test_a_new_champion_is_watched_from_nothing() -> None:
    drift = Drift(Settings())
    for i in range(300):
        drift.basket(_basket(i, [f"item-{i % 40}"]))
    drift.start("v1", 300 * HOUR_MS)
    raised = [
        alarm
        for i in range(300, 500)
        for alarm in drift.basket(_basket(i, [f"new-{i}", f"item-{i % 40}"]))
    ]
    assert [alarm.detector for alarm in raised] == ["unknown_items_cusum"]
    assert drift.standing("home", "unknown_items_cusum").over
    drift.start("v2", 500 * HOUR_MS)
    assert drift.standing("home", "unknown_items_cusum").quiet


@pytest.mark.parametrize("surface", ["home", "buy_again"])
def test_errors_and_clicks_of_one_surface_are_watched_apart_from_the_others(surface: str) -> None:
    drift = Drift(Settings())
    drift.start("v1", 0)
    random = np.random.default_rng(3)
    raised = []
    for at in range(6_000):
        hit = bool(random.random() < (0.6 if at < 3_000 else 0.2))
        raised += drift.judged(surface, at, hit=hit, no_basket=False)
        raised += drift.judged("discover", at, hit=bool(random.random() < 0.4), no_basket=False)
        clicks = int(random.binomial(10, 0.2 if at < 3_000 else 0.1))
        raised += drift.clicked(surface, at, slots=10, clicks=clicks)
    assert {alarm.surface for alarm in raised} == {surface}
    assert {alarm.kind for alarm in raised} == {"concept"}
    assert {alarm.detector for alarm in raised} == {
        "error_cusum",
        "error_adwin",
        "error_scan",
        "click_cusum",
    }


def test_a_scan_that_was_let_go_takes_the_new_level_as_normal() -> None:
    drift = Drift(Settings())
    drift.start("v1", 0)
    random = np.random.default_rng(5)

    def alarms(n: int, rate: float) -> list[str]:
        return [
            alarm.detector
            for at in range(n)
            for alarm in drift.judged("home", at, hit=bool(random.random() < rate), no_basket=False)
        ]

    alarms(2_000, 0.7)
    assert "error_scan" in alarms(500, 0.4)
    drift.rearm("home", "error_scan")
    assert "error_scan" not in alarms(3_000, 0.4)


def test_label_drift_is_forgotten_when_its_level_is_taken_as_normal() -> None:
    drift = Drift(Settings())
    drift.start("v1", 0)
    for at in range(900):
        drift.judged("home", at, hit=None, no_basket=at >= 300)
    assert "home" in drift.no_basket()
    drift.relearn("home", "label")
    assert drift.no_basket() == ""


def _basket(i: int, items: list[str]) -> BasketSeen:
    return BasketSeen(
        event_id=str(i),
        event_time_ms=DAY_MS + i * HOUR_MS,
        visitor_id="v",
        task="recommend",
        surface="home",
        item_ids=items,
    )


def test_a_champion_is_watched_on_while_the_setting_names_other_surfaces_first() -> None:
    before = Drift(Settings(surfaces="home,discover"))
    before.start("v1", 0)
    after = Drift(Settings(surfaces="front,home"), before.save())
    order = BasketSeen(
        event_id="e1",
        event_time_ms=DAY_MS,
        visitor_id="a",
        task="recommend",
        surface="home",
        item_ids=["1"],
    )
    assert after.basket(order) == []
    assert list(after.state.popularity) == ["home"]
