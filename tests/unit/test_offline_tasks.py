"""Tasks without traffic: the offline gate decides, operators order, and nothing else changes."""

import msgspec

from core.settings import DAY_MS, Settings
from core.task_stage import TaskStage
from core.tuning_policy import why_search
from schemas import topics
from schemas.models import Gate, GateCheck, ModelLog, ModelPointer, Order, Publish, Retrain
from tests.unit.stage_factory import START_MS

TASK = "intent"


def _offer(version: str, against: str | None, *, passed: bool = True, n: int = 0) -> Publish:
    check = GateCheck(name="accuracy_vs_champion", passed=passed, value=0.02, threshold=-0.01)
    return Publish(
        command_id=f"publish-{version}",
        task=TASK,
        retrain_id=f"r-{version}",
        event_time_ms=START_MS + n,
        model_version=version,
        manifest_sha256=f"sha-{version}",
        gate=Gate(passed=passed, checks=[check]),
        judged_against=against,
    )


def _order(action: str, version: str | None = None, n: int = 0, **changes: object) -> Order:
    return msgspec.convert(
        {
            "command": "order",
            "command_id": f"order-{action}-{n}",
            "task": TASK,
            "action": action,
            "event_time_ms": START_MS + n,
            "model_version": version,
            **changes,
        },
        Order,
    )


def _say(stage: TaskStage, *commands: Publish | Order) -> list[msgspec.Struct]:
    for command in commands:
        stage.step(command)
    return [record for _, _, record in stage.close(0, START_MS).records]


def _pointer(said: list[msgspec.Struct]) -> ModelPointer:
    return [record for record in said if isinstance(record, ModelPointer)][-1]


def _kinds(said: list[msgspec.Struct]) -> list[str]:
    return [record.kind for record in said if isinstance(record, ModelLog)]


def test_the_gate_alone_promotes_a_version_of_a_task_without_traffic() -> None:
    stage = TaskStage(Settings())
    said = _say(stage, _offer("a", None))
    assert _kinds(said) == ["published", "gate", "promoted"]
    said = _say(stage, _offer("b", "a", n=1))
    pointer = _pointer(said)
    assert (pointer.task, pointer.champion, pointer.previous) == (TASK, "b", "a")
    promoted = [r for r in said if isinstance(r, ModelLog) and r.kind == "promoted"]
    assert promoted[0].evidence == {"accuracy_vs_champion": 0.02}


def test_a_refused_version_leaves_the_champion_and_says_which_check_failed() -> None:
    stage = TaskStage(Settings())
    said = _say(stage, _offer("a", None), _offer("b", "a", passed=False))
    assert _pointer(said).champion == "a"
    rejected = [r for r in said if isinstance(r, ModelLog) and r.kind == "rejected"]
    assert "accuracy_vs_champion" in rejected[0].reason


def test_a_version_judged_against_a_former_champion_is_rejected() -> None:
    stage = TaskStage(Settings())
    said = _say(stage, _offer("a", None), _offer("b", "a"), _offer("c", "a"))
    assert _pointer(said).champion == "b"
    assert _kinds(said)[-1] == "rejected"


def test_operators_roll_back_pin_and_promote_by_name() -> None:
    stage = TaskStage(Settings())
    _say(stage, _offer("a", None), _offer("b", "a"))
    back = _pointer(_say(stage, _order("rollback")))
    assert (back.champion, back.pinned) == ("a", True)
    assert _kinds(_say(stage, _offer("c", "a")))[-1] == "rejected"
    assert not _pointer(_say(stage, _order("unpin"))).pinned
    assert _pointer(_say(stage, _order("promote", "c"))).champion == "c"


def test_a_retrain_is_accepted_once_and_again_after_its_version_came() -> None:
    stage = TaskStage(Settings())
    first, second = _say(stage, _order("retrain", n=1), _order("retrain", n=2))
    assert isinstance(first, Retrain)
    assert isinstance(second, Retrain)
    assert (first.task, first.state, first.search) == (TASK, "accepted", "first version")
    assert second.state == "suppressed"
    failed = Publish(
        command_id="f", task=TASK, retrain_id=first.retrain_id, event_time_ms=9, failed="no"
    )
    (third,) = _say(stage, failed, _order("retrain", n=3, tune=True))
    assert isinstance(third, Retrain)
    assert (third.state, third.search) == ("accepted", "asked for")


def test_a_training_nobody_answers_is_given_up_by_the_next_order() -> None:
    stage = TaskStage(Settings())
    _say(stage, _order("retrain", n=1))
    said = _say(stage, _order("retrain", n=8 * DAY_MS))
    assert [r.state for r in said if isinstance(r, Retrain)] == ["failed", "accepted"]


def test_two_refusals_in_a_row_ask_for_a_search() -> None:
    stage = TaskStage(Settings())
    refused = [_offer(name, "a", passed=False) for name in "bc"]
    said = _say(stage, _offer("a", None), *refused, _order("retrain"))
    assert [r.search for r in said if isinstance(r, Retrain)] == ["the gate refused 2 in a row"]
    assert why_search(first=False, refused=0, drift="input", asked=False) == ""


def test_the_state_goes_on_exactly_and_a_repeated_command_is_told() -> None:
    stage = TaskStage(Settings())
    _say(stage, _offer("a", None))
    stage.step(_offer("b", "a"))
    again = TaskStage.from_bytes(Settings(), stage.to_bytes())
    assert again.to_bytes() == stage.to_bytes()
    assert again.close(0, 5).records == stage.close(0, 5).records
    assert _say(again, _offer("b", "a")) == []


def test_records_of_another_task_are_keyed_by_it_and_ours_is_untouched() -> None:
    stage = TaskStage(Settings())
    before = stage.close(0, START_MS)
    stage.step(_offer("a", None))
    outputs = stage.close(0, START_MS)
    assert {key for _, key, _ in outputs.records} == {TASK}
    assert topics.MODELS in {topic for topic, _, _ in outputs.records}
    assert (outputs.live, outputs.in_flight) == (before.live, before.in_flight)
