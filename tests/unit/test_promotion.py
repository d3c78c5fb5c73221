"""The decider: what takes over, what does not, and what is on record about it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.pairs import Half, Requests, Tally
from core.promotion import Decider
from core.promotion_rules import Rules, judge_shadow
from core.settings import DAY_MS, Settings
from schemas.models import ModelLog
from tests.unit.stage_factory import START_MS, order, publish

RULES = Rules(margin=0.05, minimum_n=150, timeout_ms=10 * DAY_MS, surfaces=("home", "discover"))


def _decider(*versions: str) -> Decider:
    decider = Decider(Settings())
    for version in versions:
        decider.publish(publish(version), 0, START_MS)
    return decider


def _kinds(entries: list[ModelLog]) -> list[str]:
    return [entry.kind for entry in entries]


def _show(decider: Decider, n: int, champion_rate: float, challenger_rate: float) -> None:
    random = np.random.default_rng(5)
    for surface in ("home", "discover"):
        for _ in range(n):
            luck = random.random()
            champion = Half("v1", bool(luck < champion_rate), False, 0)
            rival = Half("v2", bool(luck < challenger_rate), False, 0)
            decider.answered(surface, "v1", START_MS)
            decider.pair(surface, champion, rival, "challenger")


def test_the_first_version_is_promoted_at_once_and_is_the_control() -> None:
    decider = Decider(Settings())
    entries = decider.publish(publish("v1"), 0, START_MS)
    assert _kinds(entries) == ["published", "gate", "promoted", "control"]
    assert decider.pointer.champion == decider.pointer.control == "v1"
    assert decider.pointer.manifest_sha256 == {"v1": "sha-v1"}


def test_a_version_that_the_gate_refused_is_rejected_with_its_reason() -> None:
    decider = _decider("v1")
    entries = decider.publish(publish("v2", passed=False), 0, START_MS)
    assert _kinds(entries)[-1] == "rejected"
    assert "below the champion" in entries[-1].reason
    assert decider.pointer.challenger is None


def test_an_equal_challenger_is_promoted_and_the_split_steps_are_skipped_on_record() -> None:
    decider = _decider("v1", "v2")
    assert decider.pointer.challenger == "v2"
    _show(decider, 160, 0.6, 0.6)
    entries = decider.close(START_MS + 5 * DAY_MS)
    assert _kinds(entries) == ["canary", "promoted"]
    assert "traffic cannot judge 1→5→25→50 %" in entries[0].reason
    assert entries[0].evidence["canary_1_days"] > 1_000
    assert decider.pointer.champion == "v2"
    assert decider.pointer.previous == "v1"
    assert decider.pointer.challenger is None


def test_a_worse_challenger_is_rejected_before_the_timeout() -> None:
    decider = _decider("v1", "v2")
    _show(decider, 300, 0.6, 0.45)
    entries = decider.close(START_MS + DAY_MS)
    assert _kinds(entries) == ["rejected"]
    assert "worse than the champion" in entries[0].reason
    assert entries[0].evidence["home_high"] < 0
    assert decider.pointer.champion == "v1"
    assert decider.pointer.challenger is None


def test_too_few_pairs_wait_for_the_timeout_and_then_go_by_the_point_estimate() -> None:
    decider = _decider("v1", "v2")
    _show(decider, 60, 0.6, 0.58)
    assert decider.close(START_MS + DAY_MS) == []
    entries = decider.close(START_MS + 10 * DAY_MS)
    assert _kinds(entries) == ["canary", "promoted"]
    assert "time is up" in entries[1].reason


def test_a_challenger_far_behind_at_the_timeout_is_rejected() -> None:
    decider = _decider("v1", "v2")
    _show(decider, 60, 0.6, 0.5)
    entries = decider.close(START_MS + 10 * DAY_MS)
    assert _kinds(entries) == ["rejected"]


def test_a_shadow_that_did_not_answer_is_never_promoted() -> None:
    decider = _decider("v1", "v2")
    for _ in range(500):
        decider.answered("home", "v1", START_MS)
    assert decider.close(START_MS + DAY_MS) == []
    entries = decider.close(START_MS + 10 * DAY_MS)
    assert "the shadow answered 0 of 500" in entries[0].reason


def _show_again(decider: Decider, n: int, *, worse: bool = False) -> None:
    for _ in range(n):
        champion, rival = Half("v1", True, False, 0), Half("v2", not worse, False, 0)
        decider.answered("buy_again", "v1", START_MS)
        decider.pair("buy_again", champion, rival, "challenger")


@pytest.mark.parametrize(("n", "days"), [(1, 5), (60, 5), (60, 10)])
def test_a_surface_with_too_few_answers_holds_up_no_promotion_and_is_named(
    n: int, days: int
) -> None:
    decider = _decider("v1", "v2")
    _show(decider, 160, 0.6, 0.6)
    _show_again(decider, n, worse=True)
    entries = decider.close(START_MS + days * DAY_MS)
    assert _kinds(entries) == ["canary", "promoted"]
    assert entries[1].reason.endswith(f"; not compared: buy_again (n = {n})")
    assert entries[1].evidence["buy_again_n"] == n


def test_a_rarely_asked_surface_with_enough_pairs_turns_a_worse_version_away() -> None:
    decider = _decider("v1", "v2")
    _show(decider, 600, 0.6, 0.6)
    _show_again(decider, 150, worse=True)
    (entry,) = decider.close(START_MS + DAY_MS)
    assert (entry.kind, entry.reason) == ("rejected", "worse than the champion on buy_again")


def test_a_shadow_that_leaves_out_a_rarely_asked_surface_is_not_promoted() -> None:
    decider = _decider("v1", "v2")
    _show(decider, 160, 0.6, 0.6)
    for _ in range(60):
        decider.answered("buy_again", "v1", START_MS)
    (entry,) = decider.close(START_MS + 10 * DAY_MS)
    assert "the shadow answered 0 of 60 requests on buy_again" in entry.reason


def test_a_newer_version_takes_the_place_of_one_in_shadow() -> None:
    decider = _decider("v1", "v2", "v3")
    assert decider.pointer.challenger == "v3"
    _show(decider, 300, 0.6, 0.9)
    assert decider.state.shadow == {}


def test_an_operator_rolls_back_and_that_pins() -> None:
    decider = _decider("v1", "v2")
    decider.order(order("promote", "v2"), START_MS)
    entries = decider.order(order("rollback"), START_MS)
    assert _kinds(entries) == ["rolled_back", "pinned"]
    assert decider.pointer.champion == "v1"
    assert decider.pointer.pinned
    assert decider.pointer.previous is None
    assert "ordered by ada" in entries[0].reason


def test_a_rollback_without_a_former_version_is_refused_on_record() -> None:
    entries = _decider("v1").order(order("rollback"), START_MS)
    assert _kinds(entries) == ["rejected"]
    assert "no former version" in entries[0].reason


def test_a_pinned_champion_stays_until_it_is_unpinned() -> None:
    decider = _decider("v1", "v2")
    decider.order(order("pin"), START_MS)
    _show(decider, 200, 0.6, 0.9)
    assert decider.close(START_MS + DAY_MS) == []
    decider.order(order("unpin"), START_MS)
    assert _kinds(decider.close(START_MS + DAY_MS)) == ["canary", "promoted"]


def test_an_unknown_version_is_not_promoted() -> None:
    entries = _decider("v1").order(order("promote", "v9"), START_MS)
    assert _kinds(entries) == ["rejected"]


def test_every_change_raises_the_sequence() -> None:
    decider = _decider("v1")
    before = decider.pointer.sequence
    decider.order(order("pin"), START_MS)
    assert decider.pointer.sequence == before + 1


def test_a_champion_that_loses_to_the_frozen_control_is_rolled_back_and_pinned() -> None:
    decider = _decider("v1", "v2")
    decider.order(order("promote", "v2"), START_MS)
    for i in range(400):
        champion = Half("v2", i % 2 == 0, False, 0)
        decider.pair("home", champion, Half("v1", i % 4 != 3, False, 0), "control")
    entries = decider.close(START_MS + DAY_MS)
    assert _kinds(entries) == ["rolled_back", "pinned"]
    assert decider.pointer.champion == "v1"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([-1.0, 0.0, 0.0, 0.0, 1.0]), min_size=160, max_size=400),
    st.randoms(),
)
def test_the_order_of_pairs_does_not_change_the_verdict(
    differences: list[float], random: object
) -> None:
    def verdict(values: list[float]) -> object:
        tally = Tally()
        for value in values:
            tally.add(Half("a", value < 0, False, 0), Half("b", value > 0, False, 0))
        tallies = {"home": tally, "discover": tally}
        return judge_shadow(RULES, tallies, dict.fromkeys(tallies, len(values)), 0)

    shuffled = list(differences)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert verdict(differences) == verdict(shuffled)


@pytest.mark.parametrize("drop", [0.15, 0.25])
def test_a_clearly_worse_challenger_is_never_promoted(drop: float) -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        tally = Tally()
        for luck in random.random(450):
            tally.add(
                Half("a", bool(luck < 0.6), False, 0), Half("b", bool(luck < 0.6 - drop), False, 0)
            )
        tallies = {"home": tally, "discover": tally}
        verdict = judge_shadow(RULES, tallies, dict.fromkeys(tallies, 450), RULES.timeout_ms)
        assert verdict.decision == "reject"


def test_halves_meet_in_either_order_and_a_repeated_one_counts_once() -> None:
    requests = Requests()
    one, other = Half("v1", True, False, 5), Half("v2", False, False, 5)
    assert requests.meet("home/r", "loop", one) == {}
    assert requests.meet("home/r", "challenger", other) == {"loop": one}
    assert requests.meet("home/r", "challenger", other) == {}
    requests.forget(5 + DAY_MS)
    assert requests.waiting == {}
