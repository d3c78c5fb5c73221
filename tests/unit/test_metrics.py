"""Windowed measures: what counts, when it closes, and what is never mixed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.judgement import judge
from core.metrics import Metrics, verdict_of
from core.settings import DAY_MS, HOUR_MS, Settings
from schemas.metrics import Metric
from schemas.outcomes import JudgedList
from tests.unit.stage_factory import START_MS, judged

AFTER_MS = START_MS + 3 * DAY_MS


def _closed(lists: list[JudgedList], at_ms: int = AFTER_MS) -> list[Metric]:
    metrics = Metrics(Settings())
    for one in lists:
        metrics.step(one, verdict_of(one))
    return [record for record in metrics.close(at_ms, 0, 100) if record.closed]


def _value(records: list[Metric], name: str, **where: str) -> Metric:
    (found,) = (
        record
        for record in records
        if record.name == name and all(getattr(record, k) == v for k, v in where.items())
    )
    return found


def test_hit_rate_counts_lists_with_a_basket_and_purchase_rate_counts_all() -> None:
    lists = [judged(0), judged(1, hit=False), judged(2, basket=[], new_basket=[], labels=[0] * 10)]
    records = _closed(lists)
    assert (_value(records, "hr10").value, _value(records, "hr10").n) == (0.5, 2)
    assert _value(records, "purchase_rate").n == 3
    assert _value(records, "purchase_rate").value == pytest.approx(1 / 3)


def test_discover_is_judged_on_items_new_to_the_shopper_alone() -> None:
    shown = judged(0, surface="discover")
    nothing_new = judged(1, surface="discover", new_basket=[])
    records = _closed([shown, nothing_new])
    assert _value(records, "recall10").n == 1
    assert _value(records, "recall10").value == 1.0
    assert _value(records, "ctr").n == 2


def test_buy_again_is_judged_on_what_the_shopper_had_bought_before_alone() -> None:
    shown = judged(0, surface="buy_again", basket=["old", "new"], new_basket=["new"])
    nothing_again = judged(1, surface="buy_again", basket=["new"], new_basket=["new"])
    records = _closed([shown, nothing_again])
    assert _value(records, "recall10").n == 1
    assert _value(records, "ctr").n == 2


def test_figures_of_a_short_list_by_hand() -> None:
    verdict = judge(["a", "b", "c", "d"], ["d", "b", "z"])
    assert verdict is not None
    assert verdict.recall10 == pytest.approx(2 / 3)
    assert verdict.mrr10 == 0.5
    assert verdict.ndcg10 == pytest.approx(
        (1 / 1.58496 + 1 / 2.32193) / (1 + 1 / 1.58496 + 0.5), 1e-4
    )


@given(st.lists(st.integers(0, 30), max_size=10, unique=True), st.sets(st.integers(0, 30)))
def test_every_figure_stays_between_zero_and_one(shown: list[int], bought: set[int]) -> None:
    verdict = judge([str(i) for i in shown], [str(i) for i in bought])
    assert (verdict is None) == (not bought)
    if verdict is not None:
        assert all(0 <= value <= 1 + 1e-12 for value in verdict)
        assert (verdict.hr10 == 1) == bool(set(shown) & bought)


def test_ages_never_mix_and_each_closes_after_its_own_delay() -> None:
    metrics = Metrics(Settings())
    for age in ("5m", "1h", "final"):
        one = judged(0, age=age, judged_id=age)
        metrics.step(one, verdict_of(one))
    window_end = START_MS + DAY_MS
    early = {r.age for r in metrics.close(window_end + 5 * 60_000, 0, 9) if r.closed}
    hour = {r.age for r in metrics.close(window_end + HOUR_MS, 0, 9) if r.closed}
    last = [r for r in metrics.close(window_end + DAY_MS, 0, 9) if r.closed]
    final = {r.age for r in last if not r.name.startswith("completeness")}
    assert (early, hour, final) == ({"5m"}, {"1h"}, {"final"})


def test_a_derived_policy_has_three_figures_at_the_final_age_and_none_before() -> None:
    control = judged(0, policy="control")
    records = _closed([control, judged(1, policy="control", age="5m")])
    assert sorted(record.name for record in records) == ["hr10", "ndcg10", "recall10"]
    metrics = Metrics(Settings())
    metrics.step(control, verdict_of(control))
    assert metrics.close(START_MS + DAY_MS, 0, 9) == []


def test_provisional_figures_come_once_an_hour_and_the_last_is_closed() -> None:
    metrics = Metrics(Settings())
    revisions = []
    for hour in range(60):
        if hour < 4:
            one = judged(hour)
            metrics.step(one, verdict_of(one))
        revisions += [r for r in metrics.close(START_MS + hour * HOUR_MS, 0, 9) if r.name == "hr10"]
    assert [r.revision for r in revisions] == list(range(len(revisions)))
    assert [r.closed for r in revisions] == [False] * (len(revisions) - 1) + [True]
    assert len(revisions) <= 5
    assert len({r.metric_id for r in revisions}) == len(revisions)


def test_in_live_time_provisional_figures_come_at_most_once_a_second() -> None:
    metrics, wall_ms, said = Metrics(Settings()), START_MS, 0
    for tick in range(40):
        one = judged(tick, at_ms=START_MS + tick)
        metrics.step(one, verdict_of(one))
        said += bool(metrics.close(wall_ms + tick * 100, wall_ms + tick * 100, 9))
    assert said == 4


def test_a_list_that_comes_after_its_window_closed_is_counted_as_late() -> None:
    metrics = Metrics(Settings())
    metrics.close(AFTER_MS, 0, 9)
    metrics.step(judged(0), verdict_of(judged(0)))
    assert metrics.late == 1
    assert metrics.close(AFTER_MS + HOUR_MS, 0, 9) == []


def test_probabilities_auc_and_exposure_of_served_slots() -> None:
    lists = [judged(i, scores=[-1.0, -1.0, 2.0, *[-2.0] * 7]) for i in range(20)]
    records = _closed(lists)
    assert _value(records, "auc").value == 1.0
    assert _value(records, "auc").n == 200
    assert 0 < _value(records, "log_loss").value < 0.3
    calibration = _value(records, "calibration")
    assert calibration.low <= calibration.value <= calibration.high
    assert _value(records, "coverage").value == pytest.approx(29 / 100)
    assert 0 < _value(records, "exposure_gini").value < 1


def test_latency_quantiles_are_within_five_percent_and_degraded_answers_count() -> None:
    lists = [
        judged(i % 20, judged_id=str(i), latency_ms=float(i), degraded=i > 90)
        for i in range(1, 101)
    ]
    records = _closed(lists)
    assert _value(records, "latency_p50").value == pytest.approx(50, rel=0.05)
    assert _value(records, "latency_p95").low <= _value(records, "latency_p95").high
    assert _value(records, "degraded_share").value == pytest.approx(0.1)


def test_a_correction_is_not_measured() -> None:
    assert _closed([judged(0, age="correction")]) == []
