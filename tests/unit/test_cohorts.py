"""What is said across label ages and arms: estimates, completeness, health, accounting, classes."""

import random
from collections.abc import Iterable

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.calibration import calibration, monotone
from core.classes import accuracy, macro_f1
from core.completeness import corrected
from core.label_free import REFIT_LISTS, HitExpectation
from core.loop_health import count_of, novelty
from core.metrics import Metrics, SavedMetrics, verdict_of
from core.settings import DAY_MS, HOUR_MS, Settings
from schemas.metrics import Metric
from schemas.outcomes import BasketSeen, JoinCounts, JudgedList, LabelAge
from tests.unit.stage_factory import START_MS, basket, judged

MINUTE_MS = 60_000


def _of_day(day: int, known: float, seed: int, answers: int = 400) -> list[JudgedList]:
    """A day's answers at 5m and final: a sixth bought, `known` of it within five minutes."""
    drawn = random.Random(seed)
    lists = []
    for number in range(answers):
        at_ms = START_MS + day * DAY_MS + number * MINUTE_MS
        scores = [drawn.gauss(-3.0, 1.0) for _ in range(10)]
        labels = [int(drawn.random() < 1 / (1 + np.exp(-score))) for score in scores]
        early = labels if drawn.random() < known else [0] * 10
        for age, delay_ms, seen in (("5m", 5 * MINUTE_MS, early), ("final", DAY_MS, labels)):
            items = [f"item-{number}-{i}" for i in range(10)]
            bought = [item for item, label in zip(items, seen, strict=True) if label]
            lists.append(
                judged(
                    number,
                    at_ms=at_ms,
                    judged_id=f"{day}/{number}/{age}",
                    age=age,
                    closed_at_ms=at_ms + delay_ms,
                    item_ids=items,
                    scores=scores,
                    labels=seen,
                    clicks=int(any(seen)),
                    basket=[*bought, "other"],
                )
            )
    return lists


def _run(lists: Iterable[JudgedList], metrics: Metrics | None = None) -> list[Metric]:
    metrics = metrics or Metrics(Settings())
    said: list[Metric] = []
    for one in sorted(lists, key=lambda each: (each.closed_at_ms, each.judged_id)):
        metrics.step(one, verdict_of(one))
        said += metrics.close(one.closed_at_ms, 0, 100)
    return said + metrics.close(START_MS + 40 * DAY_MS, 0, 100)


def _named(said: list[Metric], name: str, age: LabelAge) -> list[Metric]:
    return [m for m in said if (m.name, m.age) == (name, age) and m.closed]


@pytest.fixture(scope="module")
def week() -> list[Metric]:
    return _run(one for day in range(5) for one in _of_day(day, 0.25, day))


def test_completeness_is_the_share_of_final_positives_that_was_known(week: list[Metric]) -> None:
    known = _named(week, "completeness_purchase", "5m")
    assert len(known) == 5
    assert np.mean([m.value for m in known]) == pytest.approx(0.25, abs=0.04)
    assert all(m.low <= m.value <= m.high and m.n > 50 for m in known)


def test_the_corrected_early_rate_foretells_the_final_one(week: list[Metric]) -> None:
    early = _named(week, "purchase_rate", "5m")[-1]
    foretold = _named(week, "purchase_rate_corrected", "5m")
    final = _named(week, "purchase_rate", "final")[-1]
    assert len(foretold) >= 3
    assert early.value < 0.5 * final.value
    assert foretold[-1].low <= final.value <= foretold[-1].high


def test_hit_rate_is_estimated_before_labels_and_its_error_follows(week: list[Metric]) -> None:
    estimates = _named(week, "hr10_estimated", "5m")
    errors = _named(week, "hr10_estimate_error", "final")
    measured = {m.window_start_ms: m.value for m in _named(week, "hr10", "final")}
    assert len(estimates) == len(errors) >= 3
    for estimate, error in zip(estimates, errors, strict=True):
        difference = estimate.value - measured[error.window_start_ms]
        assert error.value == pytest.approx(difference)
        assert error.low <= error.value <= error.high
    assert abs(errors[-1].value) < 0.06
    provisional = [m for m in week if m.name == "hr10_estimated" and not m.closed]
    assert provisional


def test_nothing_is_estimated_before_both_maps_are_fitted() -> None:
    each, drawn = HitExpectation(), random.Random(1)
    for number in range(2 * REFIT_LISTS):
        assert each.expected([0.0] * 10) is None
        each.learn([drawn.gauss(-2, 1)] * 10, [0] * 10, number % 2 == 0)
    assert each.expected([-2.0] * 10) == pytest.approx(0.5, abs=0.1)


def test_slots_that_depend_on_each_other_do_not_mislead_the_estimate() -> None:
    """All ten slots of a list come true together: 1 − Π(1−p) alone would say 0.65."""
    each, drawn = HitExpectation(), random.Random(2)
    for _ in range(20 * REFIT_LISTS):
        hit = drawn.random() < 0.1
        each.learn([-2.2] * 10, [int(hit)] * 10, hit)
    assert each.expected([-2.2] * 10) == pytest.approx(0.1, abs=0.03)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 9)), min_size=1, max_size=12))
def test_pooled_rates_rise_and_keep_their_weighted_mean(pairs: list[tuple[float, int]]) -> None:
    rates = np.array([rate for rate, _ in pairs])
    weights = np.array([float(weight) for _, weight in pairs])
    pooled = monotone(rates, weights)
    assert (np.diff(pooled) >= 0).all()
    assert pooled @ weights == pytest.approx(rates @ weights)


def test_scores_beyond_the_ends_fall_into_the_outer_bins() -> None:
    each = calibration(-1.0, 0.5, 4)
    assert [each.place(score) for score in (-1e9, -0.9, 0.9, 1e9)] == [0, 0, 3, 3]


def test_shares_of_the_loop_are_over_all_arms_and_orders_are_accounted() -> None:
    metrics = Metrics(Settings())
    for number, arm in enumerate(("champion", "champion", "explore", "fallback")):
        one = judged(number, arm=arm, degraded=arm == "fallback", by_token=1, by_window=2)
        metrics.step(one, verdict_of(one))
    order = msgspec.structs.replace(basket(0, ["a", "b", "c", "d"]), unattributed=1)
    metrics.placed(order)
    metrics.placed(JoinCounts(counts_id="c", task="recommend", event_time_ms=START_MS, orphans=2))
    said = {(m.name, m.arm): m for m in metrics.close(START_MS + 3 * DAY_MS, 0, 100)}
    assert said["exploration_share", "any"].value == 0.25
    assert said["fallback_share", "any"].value == 0.25
    assert said["error_share", "any"].n == 4
    assert said["unattributed_share", "any"].value == 0.25
    assert (said["orphans", "any"].value, said["late_answers", "any"].value) == (2.0, 0.0)
    assert said["attributed_by_token", "champion"].value == pytest.approx(1 / 3)
    assert said["novelty", "champion"].value > 0


def test_an_order_after_its_window_has_passed_changes_nothing() -> None:
    metrics = Metrics(Settings())
    metrics.close(START_MS + 3 * DAY_MS, 0, 9)
    metrics.placed(basket(0, ["a"]))
    assert metrics.close(START_MS + 9 * DAY_MS, 0, 9) == []


def test_a_rarely_bought_item_is_more_novel_than_a_favourite() -> None:
    bought = {"hit": 90, "rare": 1}
    hit, rare = novelty({"hit": 5}, bought), novelty({"rare": 5}, bought)
    assert hit is not None
    assert rare is not None
    assert hit.value < 0.1 < 5 < rare.value
    assert novelty({}, bought) is None


def test_the_rare_count_has_poisson_bounds() -> None:
    assert count_of("orphans", 0).low == 0.0
    assert count_of("orphans", 0).high == pytest.approx(2.2, abs=0.1)


def test_bounds_of_a_corrected_rate_hold_what_comes_out() -> None:
    random_, inside = np.random.default_rng(5), 0
    for _ in range(400):
        final = random_.binomial(2_000, 0.1)
        early = random_.binomial(final, 0.4)
        matured = random_.binomial(300, 0.4)
        figure = corrected("x", (int(early), 2_000), (int(matured), 300))
        inside += figure.low <= final / 2_000 <= figure.high
    assert inside > 0.93 * 400


def test_a_classifier_is_judged_where_the_true_class_is_known() -> None:
    metrics = Metrics(Settings())
    for number in range(10):
        one = judged(number, said_class="a" if number < 7 else "b", true_class="a")
        metrics.step(one, verdict_of(one))
    other = judged(10, said_class="b")
    metrics.step(other, verdict_of(other))
    said = {m.name: m for m in metrics.close(START_MS + 3 * DAY_MS, 0, 9) if m.closed}
    assert (said["accuracy"].value, said["accuracy"].n) == (0.7, 10)
    assert said["macro_f1"].value == pytest.approx((14 / 17 + 0) / 2)


def test_macro_f1_has_bounds_that_hold() -> None:
    random_, inside = np.random.default_rng(6), 0
    shares = {("a", "a"): 0.5, ("a", "b"): 0.1, ("b", "b"): 0.3, ("b", "a"): 0.1}
    truth = (2 * 0.5 / 1.2 + 2 * 0.3 / 0.8) / 2
    for _ in range(300):
        counts = random_.multinomial(400, list(shares.values()))
        confusion: dict[str, dict[str, int]] = {"a": {}, "b": {}}
        for (true, said), count in zip(shares, counts.tolist(), strict=True):
            confusion[true][said] = count
        assert accuracy(confusion)[1] == 400
        _, low, high = macro_f1(confusion)
        inside += low <= truth <= high
    assert inside > 0.92 * 300


def test_a_restart_in_any_hour_goes_on_exactly_and_order_within_a_close_does_not_matter() -> None:
    lists = [one for day in range(3) for one in _of_day(day, 0.3, day, answers=120)]
    whole, restarted = Metrics(Settings()), Metrics(Settings())
    drawn = random.Random(7)
    for hour in range(0, 24 * 6, 5):
        at_ms = START_MS + hour * HOUR_MS
        due = [one for one in lists if at_ms - 5 * HOUR_MS < one.closed_at_ms <= at_ms]
        due.sort(key=lambda one: (one.closed_at_ms, one.judged_id))
        orders: list[BasketSeen] = [basket(hour + i, [f"item-{i}"], at_ms) for i in range(3)]
        for one in due:
            whole.step(one, verdict_of(one))
            restarted.step(one, verdict_of(one))
        for order in orders:
            whole.placed(order)
        drawn.shuffle(orders)
        for order in orders:
            restarted.placed(order)
        packed = msgspec.msgpack.encode(restarted.save())
        restarted = Metrics.load(Settings(), msgspec.msgpack.decode(packed, type=SavedMetrics))
        assert restarted.close(at_ms, 0, 50) == whole.close(at_ms, 0, 50)
