"""The stage as a whole: order, repeats, restarts, and versions that take over."""

import random
from collections.abc import Iterable
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.canary import in_canary
from core.settings import DAY_MS, HOUR_MS, Settings
from core.task_stage import Record, StageOutputs, TaskStage
from schemas.metrics import DriftAlarm, Metric
from schemas.models import ModelLog, ModelPointer, Retrain, Weights
from tests.unit.stage_factory import START_MS, basket, judged, learnable, order, publish

SETTINGS = Settings(retrain_minimum_labels=10)


def _stage(settings: Settings = SETTINGS) -> TaskStage:
    stage = TaskStage(settings)
    stage.step(publish("v1"))
    stage.close(START_MS, 0)
    return stage


def _of(outputs: StageOutputs, kind: type) -> list[msgspec.Struct]:
    return [record for _, _, record in outputs.records if isinstance(record, kind)]


def _live(outputs: StageOutputs) -> list[Weights]:
    said = [w for w in _of(outputs, Weights) if isinstance(w, Weights)]
    return [w for w in said if w.role == "live"]


def _stream(hours: Iterable[int]) -> list[Record]:
    records: list[Record] = []
    for i in hours:
        records.append(learnable(i, hit=i % 3 > 0))
        records.append(judged(i, surface="discover", hit=i % 4 == 0))
        records.append(judged(i, policy="control", hit=i % 3 > 1))
        records.append(basket(i, [f"item-{i % 40}", f"item-{(i * 7) % 40}"]))
    return records


def test_the_first_version_brings_pointer_log_and_weights_in_one_close() -> None:
    stage = TaskStage(SETTINGS)
    stage.step(publish("v1"))
    outputs = stage.close(START_MS, 77)
    (pointer,) = _of(outputs, ModelPointer)
    assert isinstance(pointer, ModelPointer)
    assert (pointer.champion, pointer.control, pointer.announced_wall_ms) == ("v1", "v1", 77)
    keys = [key for topic, key, _ in outputs.records if topic.name == "weights"]
    assert keys == ["recommend/discover/live", "recommend/home/live"]
    assert outputs.live == {"recommend": "v1"}
    assert set(outputs.weights) == {"recommend/home", "recommend/discover"}
    assert stage.close(START_MS, 78).records == []


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_arrival_order_between_two_closes_does_not_matter(shuffler: random.Random) -> None:
    records = _stream(range(60))
    shuffled = list(records)
    shuffler.shuffle(shuffled)
    said = []
    for some in (records, shuffled):
        stage = _stage()
        for record in some:
            stage.step(record)
        early, late = stage.close(START_MS + 2 * DAY_MS, 0), stage.close(START_MS + 9 * DAY_MS, 0)
        said.append((early, late))
    assert said[0] == said[1]


def test_a_restart_at_any_close_goes_on_exactly() -> None:
    whole, restarted = _stage(), _stage()
    for day in range(12):
        for record in _stream(range(day * 12, day * 12 + 12)):
            whole.step(record)
            restarted.step(record)
        restarted = TaskStage.from_bytes(SETTINGS, restarted.to_bytes())
        at_ms = START_MS + day * DAY_MS
        assert restarted.close(at_ms, day) == whole.close(at_ms, day)
        assert restarted.to_bytes() == whole.to_bytes()


def test_a_repeated_list_or_basket_counts_once() -> None:
    once, twice = _stage(), _stage()
    for record in _stream(range(30)):
        once.step(record)
        twice.step(record)
        twice.step(record)
    at_ms = START_MS + 4 * DAY_MS
    assert once.close(at_ms, 0) == twice.close(at_ms, 0)
    for record in _stream(range(30)):
        twice.step(record)
    assert twice.close(at_ms + HOUR_MS, 0) == once.close(at_ms + HOUR_MS, 0)


def test_a_version_is_not_applied_before_its_event_time() -> None:
    stage = _stage()
    stage.step(publish("v2", START_MS + 6 * HOUR_MS))
    assert stage.close(START_MS + 5 * HOUR_MS, 0).challenger == {}
    assert stage.close(START_MS + 6 * HOUR_MS, 0).challenger == {"recommend": "v2"}


def test_in_live_time_a_version_is_applied_by_the_wall_clock_when_traffic_rests() -> None:
    stage = _stage()
    stage.step(publish("v2", START_MS + HOUR_MS))
    assert stage.close(START_MS, START_MS + HOUR_MS - 1).challenger == {}
    assert stage.close(START_MS, START_MS + HOUR_MS).challenger == {"recommend": "v2"}


def test_an_ordered_training_is_in_flight_until_its_version_or_failure_comes() -> None:
    stage = TaskStage(SETTINGS)
    stage.step(order("retrain", retrain_kind="bootstrap"))
    outputs = stage.close(START_MS, 0)
    (retrain,) = _of(outputs, Retrain)
    assert isinstance(retrain, Retrain)
    assert outputs.in_flight == [retrain.retrain_id]
    stage.step(publish("v1", START_MS + 1, retrain_id=retrain.retrain_id))
    outputs = stage.close(START_MS + 1, 0)
    assert (outputs.in_flight, outputs.live) == ([], {"recommend": "v1"})


def test_a_failed_training_leaves_the_champion_and_ends_the_flight() -> None:
    stage = _stage()
    stage.step(order("retrain"))
    (flight,) = stage.close(START_MS + 1, 0).in_flight
    failed = publish("v2", START_MS + 2, retrain_id=flight, failed="no rows", model_version=None)
    stage.step(failed)
    outputs = stage.close(START_MS + 2, 0)
    assert (outputs.in_flight, outputs.live) == ([], {"recommend": "v1"})


def test_unknown_items_lead_to_one_retraining_and_its_version_takes_over() -> None:
    stage = TaskStage(SETTINGS)
    for i in range(-250, 0):
        stage.step(basket(i, [f"item-{i % 40}"]))
    stage.step(publish("v1"))
    stage.close(START_MS, 0)
    records: list[msgspec.Struct] = []
    for i in range(400):
        stage.step(judged(i, at_ms=START_MS + i * HOUR_MS))
        stage.step(basket(i, [f"item-{i % 40}"] if i < 250 else [f"item-{i % 40}", f"new-{i}"]))
        outputs = stage.close(START_MS + i * HOUR_MS, 0)
        records += [record for _, _, record in outputs.records]
    accepted = [r for r in records if isinstance(r, Retrain) and r.state == "accepted"]
    alarms = [r for r in records if isinstance(r, DriftAlarm) and r.status == "confirmed"]
    assert len(accepted) == 1
    assert accepted[0].kind == "drift_input"
    assert accepted[0].drift_id in {alarm.drift_id for alarm in alarms}
    offer = publish("v2", START_MS + 401 * HOUR_MS, retrain_id=accepted[0].retrain_id)
    stage.step(offer)
    for i in range(401, 401 + 12 * 24):
        for surface in ("home", "discover"):
            stage.step(judged(i, surface=surface))
            stage.step(judged(i, surface=surface, policy="challenger", version="v2"))
        outputs = stage.close(START_MS + i * HOUR_MS, 0)
        records += [record for _, _, record in outputs.records]
    assert outputs.live == {"recommend": "v2"}
    log = [r.kind for r in records if isinstance(r, ModelLog) and r.model_version == "v2"]
    assert log == ["published", "gate", "shadow", "canary", "promoted"]


def test_the_control_keeps_the_weights_of_the_end_of_its_burn_in() -> None:
    stage = _stage()
    frozen: list[Weights] = []
    for i in range(24 * 20):
        stage.step(learnable(i, hit=i % 2 == 0))
        outputs = stage.close(START_MS + i * HOUR_MS, 0)
        frozen += [w for w in _of(outputs, Weights) if isinstance(w, Weights) and w.frozen]
    assert [(w.surface, w.role, w.model_version) for w in frozen] == [
        ("discover", "control", "v1"),
        ("home", "control", "v1"),
    ]
    assert all(w.event_time_ms == START_MS + 14 * DAY_MS for w in frozen)


def test_a_champion_that_brings_no_weights_goes_on_with_the_rankers_as_they_are() -> None:
    stage = _stage()
    for i in range(48):
        stage.step(learnable(i))
        stage.close(START_MS + i * HOUR_MS, 0)
    stage.step(publish("v2", START_MS + 96 * HOUR_MS, ranker=[]))
    before = {w.surface: w for w in _live(stage.close(START_MS + 96 * HOUR_MS, 0))}
    stage.step(order("promote", "v2", event_time_ms=START_MS + 97 * HOUR_MS))
    after = _live(stage.close(START_MS + 97 * HOUR_MS, 0))
    assert [(w.surface, w.model_version) for w in after] == [("discover", "v2"), ("home", "v2")]
    home = after[1]
    assert (home.coef, home.bias) == (before["home"].coef, before["home"].bias)
    assert home.version not in ("", before["home"].version)
    assert home.examples == before["home"].examples > 0
    stage = TaskStage.from_bytes(SETTINGS, stage.to_bytes())
    stage.step(learnable(98))
    learned = {w.surface: w for w in _live(stage.close(START_MS + 140 * HOUR_MS, 0))}["home"]
    assert learned.examples > home.examples
    assert learned.coef != home.coef


def test_live_weights_go_out_every_six_hours_while_there_is_something_new() -> None:
    stage, times = _stage(), []
    for i in range(60):
        if i < 30:
            stage.step(learnable(i))
        outputs = stage.close(START_MS + i * HOUR_MS, 0)
        times += [w.event_time_ms for w in _of(outputs, Weights) if isinstance(w, Weights)]
    gaps = [(b - a) // HOUR_MS for a, b in pairwise(times)]
    assert times
    assert min(gaps) >= 6


def test_a_freeze_stops_learning_until_it_is_lifted() -> None:
    stage = _stage()
    stage.step(order("freeze"))
    stage.close(START_MS, 0)
    for i in range(48):
        stage.step(learnable(i))
    assert _of(stage.close(START_MS + 4 * DAY_MS, 0), Weights) == []


def test_only_the_loop_at_the_final_age_is_learned_from() -> None:
    stage = _stage()
    for i in range(48):
        stage.step(learnable(i, policy="control"))
        stage.step(learnable(i, age="1h", judged_id=f"1h-{i}"))
    assert _of(stage.close(START_MS + 4 * DAY_MS, 0), Weights) == []


def test_a_rollback_by_an_operator_swaps_back_and_republishes_weights() -> None:
    stage = _stage()
    stage.step(publish("v2"))
    stage.step(order("promote", "v2", event_time_ms=START_MS + 1))
    assert stage.close(START_MS + 1, 0).live == {"recommend": "v2"}
    stage.step(order("rollback"))
    outputs = stage.close(START_MS + 2, 0)
    assert outputs.live == {"recommend": "v1"}
    live = [w for w in _of(outputs, Weights) if isinstance(w, Weights) and w.role == "live"]
    assert {w.model_version for w in live} == {"v1"}


def test_a_canary_is_pointed_at_judged_and_promoted_through_restarts() -> None:
    settings = Settings(
        surfaces="home", shadow_margin=0.3, shadow_minimum_n=40, shadow_timeout_ms=9 * DAY_MS
    )
    stage, versions, percents = _stage(settings), ["v1"], [0]
    stage.step(publish("v2"))
    for day in range(20):
        canary = {"recommend": ""} | stage.close(START_MS + day * DAY_MS, 0).canary
        version, _, percent = canary["recommend"].partition(" ")
        for i in range(300):
            at_ms, visitor = START_MS + day * DAY_MS + i * 60_000, f"visitor-{day}-{i}"
            inside = bool(version) and in_canary(visitor, version, int(percent[:-1]))
            by = version if inside else versions[-1]
            fields: dict[str, object] = {"at_ms": at_ms, "visitor_id": visitor, "hit": i % 2 > 0}
            number = day * 300 + i
            served = judged(number, version=by, arm="canary" if inside else "champion", **fields)
            stage.step(served)
            stage.step(msgspec.structs.replace(served, judged_id=f"5m-{number}", age="5m"))
            stage.step(judged(number, version="v2", policy="challenger", **fields))
        stage = TaskStage.from_bytes(settings, stage.to_bytes())
        outputs = stage.close(START_MS + (day + 1) * DAY_MS, 0)
        for pointer in _of(outputs, ModelPointer):
            assert isinstance(pointer, ModelPointer)
            percents.append(pointer.canary_percent)
            versions.append(pointer.champion or "")
    assert percents == [0, 5, 25, 50, 0]
    assert versions[-1] == "v2"


def test_another_task_is_left_alone() -> None:
    stage = _stage()
    stage.step(judged(0, task="search"))
    assert _of(stage.close(START_MS + 9 * DAY_MS, 0), Metric) == []


@pytest.mark.parametrize("broken", [{"labels": [1, 0]}, {"feature_schema": "another"}])
def test_a_list_that_cannot_be_learned_from_is_still_measured(broken: dict[str, object]) -> None:
    stage = _stage()
    stage.step(learnable(0, feature_schema="known"))
    stage.step(learnable(1, **broken))
    outputs = stage.close(START_MS + 9 * DAY_MS, 0)
    (rate,) = [m for m in _of(outputs, Metric) if isinstance(m, Metric) and m.name == "hr10"]
    assert rate.n == 2
