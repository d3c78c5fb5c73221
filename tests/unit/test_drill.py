"""Drift put into recorded traffic is found by the detectors of its kind, and by no other copy."""

import numpy as np
import pytest

from console.drill import verdict
from core.drill import Drill, DrillReport, drill, usable
from core.drill_changes import Seen, changed
from core.settings import Settings
from schemas.metrics import DriftKind
from schemas.outcomes import BasketSeen, JudgedBatch, JudgedList
from tests.unit.stage_factory import START_MS, basket, judged

MINUTE_MS = 60_000
SETTINGS = Settings()


def _traffic(n: int, seed: int = 1) -> list[Seen]:
    """Lists and orders of a steady shop: one list in two is a hit, one in ten has no basket."""
    random = np.random.default_rng(seed)
    found: list[Seen] = []
    for i in range(n):
        at_ms = START_MS + i * MINUTE_MS
        none = {"basket": [], "new_basket": []} if random.random() < 0.1 else {}
        clicks = int(random.binomial(10, 0.2))
        hit = bool(random.random() < 0.5)
        found.append(judged(i, hit=hit, at_ms=at_ms, clicks=clicks, **none))
        items = [f"item-{item}" for item in random.integers(0, 40, 4).tolist()]
        found.append(basket(i, items, at_ms=at_ms))
    return usable(found, SETTINGS)


@pytest.fixture(scope="module")
def traffic() -> list[Seen]:
    return _traffic(4_000)


def _drilled(traffic: list[Seen], kind: DriftKind, strength: float = 0.5) -> DrillReport:
    return drill(traffic, SETTINGS, Drill(kind=kind, strength=strength))


@pytest.mark.parametrize("kind", ["concept", "label", "input"])
def test_each_kind_is_noticed_as_what_it_is(traffic: list[Seen], kind: DriftKind) -> None:
    report = _drilled(traffic, kind)
    assert report.detected
    assert report.first_kind == kind
    assert report.false_alarms == 0
    assert report.delay is not None
    assert 0 < report.delay < 600 * (10 if "click" in report.detector else 1)
    assert report.delay_ms is not None
    assert report.delay_ms > 0


def test_what_follows_is_the_action_of_the_kind(traffic: list[Seen]) -> None:
    assert [_drilled(traffic, k).action for k in ("concept", "label", "input")] == [
        "retrain",
        "hold",
        "retrain",
    ]


def test_a_drill_with_its_seed_says_the_same_again(traffic: list[Seen]) -> None:
    assert _drilled(traffic, "concept") == _drilled(list(traffic), "concept")


def test_a_change_too_small_for_the_traffic_is_not_noticed_and_says_so(traffic: list[Seen]) -> None:
    report = _drilled(traffic, "label", strength=0.001)
    assert not report.detected
    assert (report.action, report.delay) == ("none", None)
    assert verdict(report) == "not noticed"
    (labels,) = [
        each for each in report.detectors if each.detector == "no_basket_cusum" and each.ready
    ]
    assert labels.minimum_detectable is not None
    assert 0.01 < labels.minimum_detectable < 0.2


def test_too_little_traffic_for_a_baseline_is_said() -> None:
    report = _drilled(_traffic(100), "label")
    assert verdict(report) == "not noticed: too little traffic for a baseline"


def test_drift_that_was_there_anyway_is_no_delay_of_what_was_put_in() -> None:
    before = _traffic(4_000)
    own = 5_600  # of 8,000 records, after the change at 4,800
    random = np.random.default_rng(2)
    worse = [*before[:own], *(changed(record, "concept", 0.9, random) for record in before[own:])]
    report = drill(worse, SETTINGS, Drill(kind="input", strength=0.5))
    assert report.false_alarms > 0
    assert report.detected
    assert report.first_kind == "input"


def test_usable_are_the_champions_final_lists_and_all_baskets_once_in_order() -> None:
    late = judged(5, features=[[1.0]] * 12, considered=["x", "y"], labels=[0] * 12)
    batch = JudgedBatch(
        entries=[
            late,
            late,
            judged(6, policy="challenger"),
            judged(7, age="1h"),
            judged(8, arm="canary"),
            judged(9, task="another"),
            basket(1, ["a"]),
        ]
    )
    found = usable([batch, basket(1, ["a"])], SETTINGS)
    assert [type(record) for record in found] == [BasketSeen, JudgedList]
    assert isinstance(found[1], JudgedList)
    assert (found[1].features, found[1].considered, len(found[1].labels)) == ([], [], 10)


def test_concept_drift_takes_hits_and_clicks_but_no_basket() -> None:
    before = judged(1, hit=True, clicks=3)
    after = changed(before, "concept", 1.0, np.random.default_rng(1))
    assert isinstance(after, JudgedList)
    assert after.basket == before.basket
    assert not set(after.item_ids) & set(after.basket)
    assert (after.clicks, sum(after.labels)) == (0, 0)


def test_input_drift_changes_what_was_bought_and_no_list() -> None:
    before = judged(1)
    after = changed(before, "input", 1.0, np.random.default_rng(1))
    assert isinstance(after, JudgedList)
    assert after.item_ids == before.item_ids
    assert all(item.startswith("drill-item-") for item in [*after.basket, *after.new_basket])
