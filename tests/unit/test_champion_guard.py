"""What rolls a champion back after its promotion, and what does not."""

import msgspec
import numpy as np
import pytest

from core.champion_guard import Watch, champion_breached
from core.pairs import Half, Tally
from core.promotion import Decider
from core.promotion_rules import Rules
from core.service_tally import ServiceTally
from core.settings import DAY_MS, HOUR_MS, Settings
from schemas.models import ModelLog
from tests.unit.stage_factory import START_MS, judged, order, publish

RULES = Rules(margin=0.05, minimum_n=150, timeout_ms=DAY_MS, surfaces=("home",))
SWAP_MS = START_MS + 5 * DAY_MS


def _promoted() -> Decider:
    """A decider whose v1 was served well for five days and then gave way to v2."""
    decider = Decider(Settings())
    for version in ("v1", "v2"):
        decider.publish(publish(version), 0, START_MS)
    _answer(decider, 1_000, START_MS, version="v1")
    decider.order(order("promote", "v2"), SWAP_MS)
    return decider


def _answer(decider: Decider, n: int, from_ms: int, **changes: object) -> None:
    for number in range(n):
        fields = {"version": "v2", "latency_ms": 10.0, "visitor_id": f"v{number}", **changes}
        answer = judged(number, at_ms=from_ms + number, **fields)
        decider.served(msgspec.structs.replace(answer, age="5m"), None)


def _kinds(entries: list[ModelLog]) -> list[str]:
    return [entry.kind for entry in entries]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"degraded": True}, "more answers are degraded"),
        ({"version": "", "arm": "fallback", "degraded": True}, "more answers are degraded"),
        ({"latency_ms": 1_500.0}, "more answers take longer than 1000 ms"),
    ],
)
def test_a_champion_that_is_served_badly_is_rolled_back_and_pinned(
    fault: dict[str, object], reason: str
) -> None:
    decider = _promoted()
    _answer(decider, 400, SWAP_MS + HOUR_MS)
    assert decider.close(SWAP_MS + DAY_MS) == []
    _answer(decider, 200, SWAP_MS + 2 * HOUR_MS, **fault)
    entries = decider.close(SWAP_MS + DAY_MS)
    assert _kinds(entries) == ["rolled_back", "pinned"]
    assert reason in entries[0].reason
    assert "back to v1, pinned" in entries[0].reason
    assert entries[0].evidence["former_answers"] == 1_000
    assert decider.pointer.champion == "v1"
    assert decider.pointer.pinned


def test_a_champion_that_replicas_do_not_answer_with_is_rolled_back() -> None:
    decider = _promoted()
    _answer(decider, 400, SWAP_MS + HOUR_MS)
    _answer(decider, 40, SWAP_MS + HOUR_MS, version="v1")
    assert decider.close(SWAP_MS + DAY_MS) == []
    _answer(decider, 160, SWAP_MS + 2 * HOUR_MS, version="v1")
    entries = decider.close(SWAP_MS + DAY_MS)
    assert _kinds(entries) == ["rolled_back", "pinned"]
    assert entries[0].reason.startswith("200 of 600 answers came from another version")


def test_answers_while_replicas_still_follow_the_swap_are_not_held_against_it() -> None:
    decider = _promoted()
    _answer(decider, 2_000, SWAP_MS, version="v1")
    assert decider.close(SWAP_MS + DAY_MS) == []


def test_an_operators_pin_is_not_undone() -> None:
    decider = _promoted()
    decider.order(order("pin"), SWAP_MS)
    _answer(decider, 1_000, SWAP_MS + HOUR_MS, degraded=True)
    assert decider.close(SWAP_MS + DAY_MS) == []


def test_what_a_stopped_canary_had_answered_is_no_other_version() -> None:
    decider = _promoted()
    _answer(decider, 1_000, SWAP_MS + HOUR_MS, version="v3", arm="canary")
    assert decider.close(SWAP_MS + DAY_MS) == []


def test_a_guarded_rollback_stops_a_canary_and_keeps_its_version_in_shadow() -> None:
    decider = Decider(Settings(shadow_margin=0.2, shadow_minimum_n=60, surfaces="home"))
    for version in ("v1", "v2"):
        decider.publish(publish(version), 0, START_MS)
    _answer(decider, 1_000, START_MS, version="v1")
    decider.order(order("promote", "v2"), SWAP_MS)
    decider.publish(publish("v3"), 0, SWAP_MS)
    for number in range(300):
        decider.answered("home", "v2", SWAP_MS)
        half = Half("v2", number % 2 == 0, False, 0)
        decider.pair("home", half, msgspec.structs.replace(half, version="v3"), "challenger")
    assert _kinds(decider.close(SWAP_MS + DAY_MS)) == ["canary"]
    assert decider.pointer.canary == "v3"
    _answer(decider, 900, SWAP_MS + HOUR_MS, degraded=True)
    entries = decider.close(SWAP_MS + 2 * DAY_MS)
    assert _kinds(entries) == ["canary", "rolled_back", "pinned"]
    assert "the champion was rolled back" in entries[0].reason
    assert (decider.pointer.champion, decider.pointer.challenger) == ("v1", "v3")
    assert (decider.pointer.canary, decider.pointer.canary_percent) == (None, 0)


def test_equal_service_looked_at_a_hundred_times_seldom_breaches() -> None:
    random, breaches = np.random.default_rng(8), 0
    for _ in range(300):
        former = ServiceTally(answers=5_000, degraded=int(random.binomial(5_000, 0.03)))
        watch = Watch(former=former)
        for degraded in random.binomial(50, 0.03, size=100).tolist():
            watch.service.answers += 50
            watch.service.degraded += degraded
            if champion_breached(RULES, {}, watch) is not None:
                breaches += 1
                break
    assert breaches <= 3


def test_an_equal_control_on_three_surfaces_seldom_breaches_on_any() -> None:
    rules = msgspec.structs.replace(RULES, surfaces=("home", "discover", "buy_again"))
    random, breaches = np.random.default_rng(9), 0
    for _ in range(300):
        differences = random.choice([-1, 0, 1], size=(3, 100, 30), p=[0.1, 0.8, 0.1])
        totals = differences.sum(axis=2).cumsum(axis=1)
        squares = np.abs(differences).sum(axis=2).cumsum(axis=1)
        for look in range(5, 100):
            tallies = {
                name: Tally(30 * (look + 1), totals[at, look], squares[at, look])
                for at, name in enumerate(rules.surfaces)
            }
            if champion_breached(rules, tallies) is not None:
                breaches += 1
                break
    assert breaches <= 3
