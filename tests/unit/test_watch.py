"""What the task stage watches, end to end: alerts of a close, programs left out, restarts."""

import msgspec

from core.settings import DAY_MS, HOUR_MS, Settings
from core.task_stage import StageOutputs, TaskStage
from schemas.metrics import Alert, Metric
from schemas.models import Retrain, Weights
from schemas.outcomes import HourSeen, TrafficSeen
from tests.unit.stage_factory import START_MS, basket, judged, learnable, order, publish

SETTINGS = Settings(retrain_minimum_labels=10)
START_HOUR = START_MS // HOUR_MS


def stage_of(settings: Settings = SETTINGS) -> TaskStage:
    stage = TaskStage(settings)
    stage.step(publish("v1"))
    stage.close(START_MS, 0)
    return stage


def alerts_of(outputs: StageOutputs) -> list[Alert]:
    return [record for _, _, record in outputs.records if isinstance(record, Alert)]


def hour_seen(hour: int, events: int, **changes: int) -> TrafficSeen:
    at_ms = (START_HOUR + hour + 1) * HOUR_MS
    return TrafficSeen(
        traffic_id=f"traffic/{hour}",
        event_time_ms=at_ms,
        task="recommend",
        partition=0,
        until_hour=START_HOUR + hour + 1,
        hours=[HourSeen(START_HOUR + hour, events, **changes)],
    )


def collapse(stage: TaskStage, close_every_h: int) -> list[tuple[str, Alert]]:
    said: list[tuple[str, Alert]] = []
    for hour in range(6 * 168):
        stage.step(hour_seen(hour, 0 if 900 <= hour < 906 else 100))
        if (hour + 1) % close_every_h == 0:
            outputs = stage.close(START_MS + (hour + 1) * HOUR_MS, hour)
            said += [(key, each) for _, key, each in outputs.records if isinstance(each, Alert)]
    return said


def test_a_collapse_of_traffic_is_raised_and_cleared_on_its_own_key() -> None:
    said = collapse(stage_of(), 1)
    assert [(alert.name, alert.scope, alert.state) for _, alert in said] == [
        ("traffic_collapsed", "events", "raised"),
        ("traffic_collapsed", "events", "cleared"),
    ]
    assert {key for key, _ in said} == {said[0][1].alert_id}
    assert said[0][1].event_time_ms == START_MS + 901 * HOUR_MS
    assert said[0][1].runbook == "docs/runbook.md#traffic_collapsed"


def test_how_often_a_close_comes_does_not_change_traffic_alerts() -> None:
    assert collapse(stage_of(), 1) == collapse(stage_of(), 7)


def test_a_restart_in_the_middle_of_a_collapse_says_nothing_twice() -> None:
    stage, said = stage_of(), []
    for hour in range(6 * 168):
        stage.step(hour_seen(hour, 0 if 900 <= hour < 906 else 100))
        said += alerts_of(stage.close(START_MS + (hour + 1) * HOUR_MS, hour))
        if 898 <= hour < 910:
            stage = TaskStage.from_bytes(SETTINGS, stage.to_bytes())
    assert said == [alert for _, alert in collapse(stage_of(), 1)]


def test_what_a_program_did_is_measured_and_teaches_nothing() -> None:
    stage = stage_of()
    burst = TrafficSeen(
        traffic_id="burst",
        event_time_ms=START_MS + HOUR_MS,
        task="recommend",
        partition=0,
        until_hour=START_HOUR + 1,
        bursts={f"visitor-{n}": 400 for n in range(17)},
    )
    stage.step(burst)
    for number in range(20):
        stage.step(learnable(number))
        stage.step(basket(number, ["item-1"]))
    outputs = stage.close(START_MS + 4 * DAY_MS, 0)
    assert [alert.name for alert in alerts_of(outputs)] == ["burst"]
    assert not [each for _, _, each in outputs.records if isinstance(each, Weights)]
    rates = [each for _, _, each in outputs.records if isinstance(each, Metric)]
    assert [each.n for each in rates if each.name == "hr10"] == [20]


def test_slow_and_degraded_answers_are_told_apart_and_before_a_version_they_are_no_news() -> None:
    def served(stage: TaskStage, first_ms: int) -> list[tuple[str, str]]:
        for number in range(900):
            at_ms = first_ms + number * 10_000
            stage.step(
                judged(
                    number,
                    at_ms=at_ms,
                    age="5m",
                    closed_at_ms=at_ms + 300_000,
                    latency_ms=1_900.0 if number % 10 == 0 else 20.0,
                    degraded=number % 3 == 0,
                    judged_id=f"early/{number}",
                )
            )
        outputs = stage.close(first_ms + DAY_MS, 0)
        return [(alert.name, alert.scope) for alert in alerts_of(outputs)]

    assert served(TaskStage(SETTINGS), START_MS) == []
    assert sorted(served(stage_of(), START_MS)) == [
        ("answers_degraded", "home"),
        ("answers_slow", "home"),
    ]


def test_trainings_that_bring_nothing_twice_are_told_and_a_version_clears_it() -> None:
    stage, said = stage_of(), []
    for number in range(3):
        at_ms = START_MS + (number + 1) * DAY_MS
        ordered = order("retrain", event_time_ms=at_ms, command_id=f"order-{number}")
        stage.step(ordered)
        outputs = stage.close(at_ms, 0)
        (flight,) = outputs.in_flight
        failed = None if number == 2 else "no memory"
        version = "v2" if number == 2 else None
        stage.step(
            publish(
                f"v-{number}",
                at_ms + 1,
                retrain_id=flight,
                failed=failed,
                model_version=version,
            )
        )
        outputs = stage.close(at_ms + 1, 0)
        said += [(alert.name, alert.state, number) for alert in alerts_of(outputs)]
    assert said == [("training_failed", "raised", 1), ("training_failed", "cleared", 2)]


def test_a_training_that_never_ends_is_told_after_a_day() -> None:
    stage = stage_of()
    stage.step(order("retrain", event_time_ms=START_MS))
    outputs = stage.close(START_MS + 1, 0)
    assert [r.state for _, _, r in outputs.records if isinstance(r, Retrain)] == ["accepted"]
    assert alerts_of(stage.close(START_MS + DAY_MS - HOUR_MS, 0)) == []
    (stuck,) = alerts_of(stage.close(START_MS + DAY_MS + HOUR_MS, 0))
    assert (stuck.name, stuck.state) == ("training_stuck", "raised")


def test_three_refused_versions_in_a_row_are_told() -> None:
    stage = stage_of()
    said: list[str] = []
    for number in range(3):
        at_ms = START_MS + (number + 1) * DAY_MS
        stage.step(publish(f"bad-{number}", at_ms, passed=False))
        said += [alert.name for alert in alerts_of(stage.close(at_ms, 0))]
    assert said == ["versions_refused"]


def test_a_freeze_is_told_after_a_day_and_cleared_with_it() -> None:
    stage = stage_of()
    stage.step(order("freeze"))
    assert alerts_of(stage.close(START_MS + 1, 0)) == []
    (raised,) = alerts_of(stage.close(START_MS + 1 + DAY_MS, 0))
    stage.step(order("unfreeze"))
    (cleared,) = alerts_of(stage.close(START_MS + 2 + DAY_MS, 0))
    assert (raised.name, raised.alert_id, cleared.state) == (
        "learning_frozen",
        cleared.alert_id,
        "cleared",
    )


def test_a_version_that_answers_too_long_is_told() -> None:
    stage = stage_of()
    assert alerts_of(stage.close(START_MS + 119 * DAY_MS, 0)) == []
    (stale,) = alerts_of(stage.close(START_MS + 120 * DAY_MS, 0))
    assert stale.name == "model_stale"


def test_an_unsettled_alarm_is_a_ticket_until_a_version_takes_over() -> None:
    stage = TaskStage(SETTINGS)
    for i in range(-250, 0):
        stage.step(basket(i, [f"item-{i % 40}"]))
    stage.step(publish("v1"))
    stage.close(START_MS, 0)
    said: list[Alert] = []
    for i in range(400):
        stage.step(judged(i, at_ms=START_MS + i * HOUR_MS))
        stage.step(basket(i, [f"item-{i % 40}"] if i < 250 else [f"item-{i % 40}", f"new-{i}"]))
        said += alerts_of(stage.close(START_MS + i * HOUR_MS, 0))
    (raised,) = [alert for alert in said if alert.name == "drifted"]
    assert (raised.scope, raised.state) == ("home", "raised")
    stage.step(publish("v2", START_MS + 401 * HOUR_MS))
    stage.step(order("promote", "v2", event_time_ms=START_MS + 402 * HOUR_MS))
    over = alerts_of(stage.close(START_MS + 402 * HOUR_MS, 0))
    (cleared,) = [alert for alert in over if alert.name == "drifted"]
    assert (cleared.state, cleared.alert_id) == ("cleared", raised.alert_id)


def test_a_state_from_before_there_were_alerts_still_loads() -> None:
    stage = stage_of()
    saved = msgspec.msgpack.decode(stage.to_bytes())
    del saved["watch"]
    old = TaskStage.from_bytes(SETTINGS, msgspec.msgpack.encode(saved))
    assert alerts_of(old.close(START_MS + 1, 0)) == []
