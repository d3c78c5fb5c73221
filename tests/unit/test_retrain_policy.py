"""The policy: when an alarm becomes a retraining, and what is said when it does not."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.drift_types import Evidence, Observed, Standing
from core.retrain_policy import PolicyState, RetrainPolicy, Situation
from core.settings import DAY_MS, HOUR_MS, Settings
from schemas.metrics import DriftAlarm, DriftKind
from schemas.models import Retrain
from tests.unit.stage_factory import START_MS, order

NOW_MS = START_MS + 100 * DAY_MS


class Detectors:
    """Detectors that stand as a test says."""

    def __init__(self, **standing: Standing) -> None:
        self.stands = standing
        self.rearmed: list[str] = []
        self.harder = False

    def standing(self, surface: str, detector: str) -> Standing:
        """As told, or over its threshold for long."""
        return self.stands.get(detector, Standing(over=True, since=10_000, quiet=False))

    def rearm(self, surface: str, detector: str) -> None:
        """Remembers that it was asked."""
        self.rearmed.append(detector)

    def became_harder(self, surface: str) -> bool:
        """As told."""
        return self.harder

    def relearn(self, surface: str, kind: DriftKind) -> None:
        """Remembers that it was asked."""
        self.rearmed.append(f"{surface}/{kind}")


def _evidence(
    detector: str = "unknown_items_cusum", kind: DriftKind = "input", at_ms: int = NOW_MS
) -> Evidence:
    seen = Observed(
        statistic=30.0, threshold=22.3, baseline=0.03, current=0.07, n=200, minimum_detectable=0.02
    )
    return Evidence(
        surface="home",
        detector=detector,
        kind=kind,
        model_version="v1",
        event_time_ms=at_ms,
        observed=seen,
    )


def _policy(**settings: int) -> RetrainPolicy:
    policy = RetrainPolicy(Settings(**{"retrain_cooldown_ms": 7 * DAY_MS, **settings}))  # type: ignore[arg-type]
    policy.state.labels = 1_000
    return policy


def _situation(now_ms: int = NOW_MS, **changes: object) -> Situation:
    fields = {"now_ms": now_ms, "champion": "v1", "challenger": None, "pinned": False}
    return Situation(**{**fields, **changes})  # type: ignore[arg-type]


def _retrains(records: list[DriftAlarm | Retrain]) -> list[Retrain]:
    return [record for record in records if isinstance(record, Retrain)]


def test_a_sustained_alarm_is_confirmed_and_accepted_with_its_evidence() -> None:
    policy = _policy()
    policy.raised(_evidence())
    alarm, retrain = policy.close(_situation(), Detectors())
    assert isinstance(alarm, DriftAlarm)
    assert alarm.status == "confirmed"
    assert alarm.effect == pytest.approx(0.04)
    assert isinstance(retrain, Retrain)
    assert (retrain.state, retrain.kind) == ("accepted", "drift_input")
    assert retrain.drift_id == alarm.drift_id
    assert retrain.data_until_ms == NOW_MS
    assert retrain.cost_ms == 6 * HOUR_MS
    assert list(policy.state.in_flight) == [retrain.retrain_id]


def test_an_alarm_waits_until_it_has_stood_for_enough_baskets() -> None:
    policy = _policy()
    policy.raised(_evidence())
    young = Detectors(unknown_items_cusum=Standing(over=True, since=49, quiet=False))
    assert policy.close(_situation(), young) == []
    assert len(policy.close(_situation(), Detectors())) == 2


def test_an_alarm_that_did_not_last_is_let_go_on_record_and_may_come_again() -> None:
    policy = _policy()
    policy.raised(_evidence())
    gone = Detectors(unknown_items_cusum=Standing(over=False, since=60, quiet=False))
    (alarm,) = policy.close(_situation(), gone)
    assert isinstance(alarm, DriftAlarm)
    assert alarm.status == "suppressed"
    assert "not sustained" in alarm.reason
    assert gone.rearmed == ["unknown_items_cusum"]
    assert policy.close(_situation(), Detectors()) == []


def test_two_error_detectors_confirm_each_other_at_once() -> None:
    policy = _policy()
    fresh = Standing(over=True, since=0, quiet=False)
    detectors = Detectors(error_cusum=fresh, error_adwin=fresh)
    policy.raised(_evidence("error_adwin", "concept"))
    assert policy.close(_situation(), detectors) == []
    policy.raised(_evidence("error_cusum", "concept", NOW_MS + 1))
    accepted = [
        r for r in _retrains(policy.close(_situation(), detectors)) if r.state == "accepted"
    ]
    assert [retrain.kind for retrain in accepted] == ["drift_error"]


def test_errors_that_rose_because_requests_became_harder_retrain_nothing() -> None:
    policy, detectors = _policy(), Detectors()
    detectors.harder = True
    policy.raised(_evidence("error_cusum", "concept"))
    (alarm,) = policy.close(_situation(), detectors)
    assert isinstance(alarm, DriftAlarm)
    assert alarm.status == "suppressed"
    assert alarm.reason.startswith("requests became harder")
    assert alarm.action == "relearn"
    assert detectors.rearmed == ["home/concept"]


def test_adwin_alone_never_retrains() -> None:
    policy = _policy()
    policy.raised(_evidence("error_adwin", "concept"))
    (alarm,) = policy.close(_situation(), Detectors())
    assert isinstance(alarm, DriftAlarm)
    assert alarm.status == "suppressed"


def test_label_drift_is_reported_and_retrains_nothing() -> None:
    policy = _policy()
    policy.raised(_evidence("no_basket_cusum", "label"))
    (alarm,) = policy.close(_situation(), Detectors())
    assert isinstance(alarm, DriftAlarm)
    assert (alarm.kind, alarm.action) == ("label", "hold")


def test_label_drift_that_stood_for_a_week_becomes_the_base_rate() -> None:
    policy, detectors = _policy(), Detectors()
    policy.raised(_evidence("no_basket_cusum", "label"))
    (held,) = policy.close(_situation(), detectors)
    assert policy.close(_situation(NOW_MS + 6 * DAY_MS), detectors) == []
    (accepted,) = policy.close(_situation(NOW_MS + 7 * DAY_MS), detectors)
    assert isinstance(held, DriftAlarm)
    assert isinstance(accepted, DriftAlarm)
    assert (accepted.action, accepted.status) == ("relearn", "suppressed")
    assert accepted.drift_id != held.drift_id
    assert detectors.rearmed == ["home/label"]
    assert policy.close(_situation(NOW_MS + 30 * DAY_MS), detectors) == []


@pytest.mark.parametrize(
    ("word", "situation", "prepare"),
    [
        ("pinned", {"pinned": True}, {}),
        ("data_quality", {"veto": "baskets stopped"}, {}),
        ("challenger_in_shadow", {"challenger": "v2"}, {}),
        ("refractory", {}, {"swapped_ms": NOW_MS - DAY_MS}),
        ("cooldown", {}, {"accepted_ms": [NOW_MS - 2 * DAY_MS]}),
        ("too_few_labels", {}, {"labels": 399}),
    ],
)
def test_each_reason_against_is_said_once_and_the_alarm_stays(
    word: str, situation: dict[str, object], prepare: dict[str, object]
) -> None:
    policy = _policy()
    for name, value in prepare.items():
        setattr(policy.state, name, value)
    policy.raised(_evidence())
    (refused,) = _retrains(policy.close(_situation(**situation), Detectors()))
    assert refused.state == "suppressed"
    assert refused.reason.startswith(word + ":")
    assert policy.close(_situation(**situation), Detectors()) == []
    policy.state.labels = 1_000
    later = _situation(NOW_MS + 30 * DAY_MS)
    (accepted,) = _retrains(policy.close(later, Detectors()))
    assert accepted.state == "accepted"
    assert accepted.retrain_id == refused.retrain_id


def test_the_daily_budget_holds_when_the_cooldown_is_short() -> None:
    policy = _policy(retrain_cooldown_ms=HOUR_MS, retrain_daily_budget=2)
    policy.state.accepted_ms = [NOW_MS - 20 * HOUR_MS, NOW_MS - 2 * HOUR_MS]
    policy.raised(_evidence())
    (refused,) = _retrains(policy.close(_situation(), Detectors()))
    assert refused.reason.startswith("daily_budget:")


def test_a_second_alarm_is_merged_into_the_training_in_flight() -> None:
    policy = _policy()
    policy.raised(_evidence())
    first = _retrains(policy.close(_situation(), Detectors()))[0]
    policy.raised(_evidence("popularity_js"))
    (merged,) = _retrains(policy.close(_situation(), Detectors()))
    assert merged.reason == f"in_flight: merged into {first.retrain_id}"


def test_a_rejected_version_lets_its_alarm_ask_again_as_a_new_attempt() -> None:
    policy = _policy()
    policy.raised(_evidence())
    first = _retrains(policy.close(_situation(), Detectors()))[0]
    policy.finished(first.retrain_id)
    policy.rejected(first.retrain_id)
    policy.state.labels = 1_000
    (again,) = _retrains(policy.close(_situation(NOW_MS + 8 * DAY_MS), Detectors()))
    assert again.state == "accepted"
    assert again.retrain_id != first.retrain_id
    assert again.drift_id == first.drift_id


def test_a_new_champion_ends_the_alarms_about_the_former() -> None:
    policy = _policy()
    policy.raised(_evidence())
    policy.swapped(NOW_MS)
    (alarm,) = policy.close(_situation(), Detectors())
    assert isinstance(alarm, DriftAlarm)
    assert alarm.status == "suppressed"
    assert alarm.reason.startswith("champion_changed:")
    assert policy.close(_situation(), Detectors()) == []


def test_a_confirmed_alarm_that_waited_is_suppressed_on_record_at_a_swap() -> None:
    policy = _policy()
    policy.raised(_evidence())
    policy.close(_situation(pinned=True), Detectors())
    policy.swapped(NOW_MS)
    (dropped,) = _retrains(policy.close(_situation(), Detectors()))
    assert dropped.state == "suppressed"
    assert dropped.reason.startswith("champion_changed:")


def test_a_confirmed_alarm_that_went_quiet_before_a_training_is_suppressed_on_record() -> None:
    policy = _policy()
    policy.raised(_evidence())
    policy.close(_situation(pinned=True), Detectors())
    quiet = Detectors(unknown_items_cusum=Standing(over=False, since=90, quiet=True))
    (ended,) = _retrains(policy.close(_situation(), quiet))
    assert ended.reason.startswith("went_quiet:")
    assert policy.state.causes == {}


def test_a_training_that_nobody_answers_is_given_up_and_its_alarm_asks_again() -> None:
    policy = _policy()
    policy.raised(_evidence())
    (first,) = _retrains(policy.close(_situation(), Detectors()))
    policy.state.labels = 1_000
    assert policy.close(_situation(NOW_MS + 6 * DAY_MS), Detectors()) == []
    given_up, again = _retrains(policy.close(_situation(NOW_MS + 7 * DAY_MS), Detectors()))
    assert (given_up.retrain_id, given_up.state) == (first.retrain_id, "failed")
    assert given_up.reason.startswith("abandoned:")
    assert again.state == "accepted"
    assert again.retrain_id != first.retrain_id


def test_an_order_is_held_up_by_nothing_but_a_training_in_flight() -> None:
    policy = _policy()
    policy.state.labels = 0
    policy.state.accepted_ms = [NOW_MS]
    (accepted,) = policy.ordered(order("retrain", retrain_kind="bootstrap"), _situation())
    assert (accepted.state, accepted.kind) == ("accepted", "bootstrap")
    (merged,) = policy.ordered(order("retrain", command_id="another"), _situation())
    assert merged.state == "suppressed"


def test_the_schedule_is_off_unless_set_and_counts_from_the_last_training() -> None:
    silent = _policy()
    silent.state.accepted_ms = [NOW_MS - 300 * DAY_MS]
    assert silent.close(_situation(), Detectors()) == []
    weekly = _policy(retrain_schedule_ms=14 * DAY_MS)
    weekly.state.accepted_ms = [NOW_MS - 14 * DAY_MS]
    (retrain,) = _retrains(weekly.close(_situation(), Detectors()))
    assert (retrain.state, retrain.kind) == ("accepted", "schedule")


def test_a_schedule_that_is_held_up_says_so_once_and_follows_later() -> None:
    weekly = _policy(retrain_schedule_ms=14 * DAY_MS)
    weekly.state.accepted_ms = [NOW_MS - 14 * DAY_MS]
    (held,) = _retrains(weekly.close(_situation(challenger="v2"), Detectors()))
    assert (held.state, held.kind) == ("suppressed", "schedule")
    assert weekly.close(_situation(challenger="v2"), Detectors()) == []
    (accepted,) = _retrains(weekly.close(_situation(), Detectors()))
    assert (accepted.state, accepted.retrain_id) == ("accepted", held.retrain_id)


REASONS = {
    "pinned",
    "data_quality",
    "in_flight",
    "challenger_in_shadow",
    "refractory",
    "cooldown",
    "daily_budget",
    "too_few_labels",
    "went_quiet",
    "champion_changed",
}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["alarm", "quiet", "finish", "reject", "swap", "order", "wait"]),
            st.booleans(),
            st.sampled_from([None, "v2"]),
            st.integers(0, 600),
        ),
        max_size=30,
    )
)
def test_every_alarm_ends_in_a_record_and_the_state_goes_on_exactly(
    moves: list[tuple[str, bool, str | None, int]],
) -> None:
    policy, now_ms, said = _policy(retrain_daily_budget=1), NOW_MS, list[DriftAlarm | Retrain]()
    raised = 0
    for number, (move, pinned, challenger, labels) in enumerate(moves):
        now_ms += 2 * DAY_MS
        policy.state.labels += labels
        raised += _moved(policy, move, now_ms)
        situation = _situation(now_ms, pinned=pinned, challenger=challenger)
        if move == "order":
            said += policy.ordered(order("retrain", command_id=f"c{number}"), situation)
        gone = {"unknown_items_cusum": Standing(over=False, since=90, quiet=True)}
        said += policy.close(situation, Detectors(**(gone if move == "quiet" else {})))
        state = msgspec.msgpack.encode(policy.state)
        again = msgspec.msgpack.decode(state, type=PolicyState)
        assert msgspec.msgpack.encode(again) == state
        policy = RetrainPolicy(policy.settings, again)
    open_now = sum(not cause.confirmed for cause in policy.state.causes.values())
    assert len({r.drift_id for r in said if isinstance(r, DriftAlarm)}) == raised - open_now
    words = {r.reason.partition(":")[0] for r in _retrains(said) if r.state == "suppressed"}
    assert words <= REASONS
    accepted = [r.retrain_id for r in _retrains(said) if r.state == "accepted"]
    assert len(accepted) == len(set(accepted))


def _moved(policy: RetrainPolicy, move: str, now_ms: int) -> bool:
    """Does what a move says; whether that was a new alarm."""
    for retrain_id in list(policy.state.in_flight):
        if move in ("finish", "reject"):
            policy.finished(retrain_id)
        if move == "reject":
            policy.rejected(retrain_id)
    if move == "swap":
        policy.swapped(now_ms)
    if move != "alarm" or "home/unknown_items_cusum" in policy.state.causes:
        return False
    policy.raised(_evidence(at_ms=now_ms))
    return True
