"""The canary: who is in it, when a step passes, what takes it back, and what is on record."""

from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.canary import STEPS, Arms, Canary, Side, in_canary
from core.canary_rules import canary_plan, judge_step
from core.pairs import Half, Tally
from core.promotion import Decider, DeciderState
from core.promotion_rules import Rules
from core.sequential import split_p
from core.settings import DAY_MS, HOUR_MS, Settings
from schemas.models import ModelLog
from schemas.outcomes import JudgedList
from tests.unit.stage_factory import START_MS, judged, order, publish

AGAIN = {"home": 60_000, "buy_again": 40}
SETTINGS = Settings(shadow_margin=0.2, shadow_minimum_n=60, surfaces="home")
RULES = Rules(margin=0.05, minimum_n=150, timeout_ms=DAY_MS, surfaces=("home",))
VISITORS = [f"visitor-{number}" for number in range(4_000)]


def _kinds(entries: list[ModelLog]) -> list[str]:
    return [entry.kind for entry in entries]


def _under_test() -> Decider:
    """A decider whose challenger v2 has just passed its shadow with traffic for a canary."""
    decider = Decider(SETTINGS)
    for version in ("v1", "v2"):
        decider.publish(publish(version), 0, START_MS)
    for number in range(300):
        decider.answered("home", "v1", START_MS)
        hit = number % 10 < 6
        decider.pair("home", Half("v1", hit, False, 0), Half("v2", hit, False, 0), "challenger")
    decider.close(START_MS + DAY_MS)
    return decider


def _answers(
    decider: Decider, n: int, *, rate: float = 0.6, version: str | None = None, **changes: object
) -> Iterator[tuple[JudgedList, bool]]:
    """Answers of the step under way, as serving splits them; `rate` is the canary's hit rate."""
    canary, random = decider.state.canary, np.random.default_rng(3)
    assert canary is not None
    for number in range(n):
        visitor = VISITORS[number % len(VISITORS)]
        inside = canary.asks(visitor)
        by = (version or canary.version) if inside else "v1"
        fields = {"visitor_id": visitor, "arm": "canary" if inside else "champion"}
        if inside:
            fields |= changes
        at_ms = canary.from_ms + HOUR_MS + number
        hit = bool(random.random() < (rate if inside else 0.6))
        yield judged(number, version=by, hit=hit, at_ms=at_ms, **fields), hit


def _serve(decider: Decider, n: int, **changes: object) -> None:
    for answer, hit in list(_answers(decider, n, **changes)):  # type: ignore[arg-type]
        decider.served(msgspec.structs.replace(answer, age="5m"), hit)
        decider.served(answer, hit)


def test_a_visitor_stays_in_as_the_share_grows() -> None:
    for visitor in VISITORS:
        inside = [in_canary(visitor, "v2", percent) for percent in (0, *STEPS, 100)]
        assert inside == sorted(inside)
        assert (inside[0], inside[-1]) == (False, True)


@pytest.mark.parametrize("percent", STEPS)
def test_the_share_is_as_asked_and_another_version_draws_others(percent: int) -> None:
    mine = {v for v in VISITORS if in_canary(v, "v2", percent)}
    others = {v for v in VISITORS if in_canary(v, "v3", percent)}
    expected = len(VISITORS) * percent / 100
    assert abs(len(mine) - expected) < 4 * expected**0.5
    assert mine != others


def test_enough_traffic_runs_the_steps_it_can_judge_and_skips_the_others_on_record() -> None:
    decider = _under_test()
    assert (decider.pointer.canary, decider.pointer.canary_percent) == ("v2", 5)
    assert decider.pointer.champion == "v1"
    assert decider.pointer.challenger == "v2"
    assert set(decider.pointer.manifest_sha256) == {"v1", "v2"}


def test_each_step_is_passed_on_record_and_the_last_promotes() -> None:
    decider, said = _under_test(), []
    for day in range(2, 30):
        if decider.state.canary is None:
            break
        _serve(decider, 3_000)
        said += decider.close(START_MS + day * DAY_MS)
    assert _kinds(said) == ["canary", "canary", "canary", "promoted"]
    assert [entry.evidence["percent"] for entry in said] == [5, 25, 50, 50]
    assert all(entry.evidence["alpha"] == pytest.approx(0.0304, abs=1e-4) for entry in said)
    assert all(entry.evidence["candidate_number"] == 1 for entry in said)
    assert "on to 25 %" in said[0].reason
    assert decider.pointer.champion == "v2"
    assert (decider.pointer.canary, decider.pointer.canary_percent) == (None, 0)
    assert decider.pointer.previous == "v1"


def test_without_answers_a_step_waits_and_is_taken_back_in_the_end() -> None:
    decider = _under_test()
    assert decider.close(START_MS + 10 * DAY_MS) == []
    entries = decider.close(START_MS + 15 * DAY_MS)
    assert _kinds(entries) == ["rolled_back", "rejected"]
    assert "not judged at 5 % within 14 days" in entries[1].reason
    assert decider.pointer.champion == "v1"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"rate": 0.2}, "worse than the champion on home"),
        ({"degraded": True}, "more answers are degraded"),
        ({"latency_ms": 3_000.0}, "take longer than 1000 ms"),
        ({"latency_ms": 60.0}, "99th percentile"),
        ({"version": "v1"}, "came from another version"),
    ],
)
def test_a_breach_takes_the_canary_back_on_record(fault: dict[str, object], reason: str) -> None:
    decider = _under_test()
    _at(decider, 25)
    _serve(decider, 4_000, **fault)
    entries = decider.close(START_MS + 3 * DAY_MS)
    assert _kinds(entries) == ["rolled_back", "rejected"]
    assert reason in entries[1].reason
    assert entries[1].evidence["percent"] == 25
    assert decider.pointer.champion == "v1"
    assert (decider.pointer.canary, decider.pointer.challenger) == (None, None)
    assert not decider.pointer.pinned


def test_answers_that_vanish_break_the_sample_ratio() -> None:
    decider = _under_test()
    _at(decider, 50)
    for number, (answer, _) in enumerate(_answers(decider, 4_000)):
        if answer.arm == "champion" or number % 4:
            decider.served(msgspec.structs.replace(answer, age="5m"), None)
    entries = decider.close(START_MS + 3 * DAY_MS)
    assert entries[1].reason.startswith("sample ratio:")
    assert entries[1].evidence["split_chi2_p"] < 0.001


def test_early_labels_never_count() -> None:
    decider = _under_test()
    for age in ("5m", "1h", "24h", "correction"):
        for answer, hit in _answers(decider, 3_000):
            decider.served(msgspec.structs.replace(answer, age=age), hit)
    canary = decider.state.canary
    assert canary is not None
    assert canary.surfaces == {}
    assert decider.close(START_MS + 3 * DAY_MS) == []


def test_answers_from_before_the_step_do_not_count() -> None:
    decider = _under_test()
    answers = list(_answers(decider, 500))
    _at(decider, 50, START_MS + 5 * DAY_MS)
    for answer, hit in answers:
        decider.served(answer, hit)
    canary = decider.state.canary
    assert canary is not None
    assert canary.surfaces == {}


@pytest.mark.parametrize("action", ["pin", "promote"])
def test_an_order_stops_the_canary_on_record(action: str) -> None:
    decider = _under_test()
    version = "v2" if action == "promote" else None
    entries = decider.order(order(action, version), START_MS + DAY_MS)
    assert entries[0].kind == "canary"
    assert entries[0].reason.startswith("stopped at 5 %: ordered by ada")
    assert (decider.pointer.canary, decider.pointer.canary_percent) == (None, 0)
    assert decider.state.canary is None


def test_a_newer_version_ends_the_canary_of_the_former() -> None:
    decider = _under_test()
    entries = decider.publish(publish("v3"), 0, START_MS + 2 * DAY_MS)
    assert ("v2", "rejected") in [(entry.model_version, entry.kind) for entry in entries]
    assert (decider.pointer.canary, decider.pointer.challenger) == (None, "v3")


def test_successive_candidates_are_tested_at_falling_levels_within_the_period() -> None:
    decider, levels = Decider(SETTINGS), []
    for number in range(5):
        decider.publish(publish(f"v{number}"), 0, START_MS + number * DAY_MS)
        levels.append(decider.state.spending.alpha)
    assert levels[1:] == sorted(levels[1:], reverse=True)
    assert sum(levels[1:]) < SETTINGS.promotion_alpha
    decider.publish(publish("v9"), 0, START_MS + 90 * DAY_MS)
    assert decider.state.spending.number == 1


def test_small_traffic_skips_every_step() -> None:
    tallies = {"home": Tally(n=150, champion_hits=100)}
    plan = canary_plan(RULES, tallies, {"home": 150}, 3 * DAY_MS)
    assert plan.steps == []
    assert "traffic cannot judge 1→5→25→50 %" in plan.reason


def test_a_surface_with_too_few_answers_holds_up_no_step() -> None:
    rules = msgspec.structs.replace(RULES, surfaces=("home", "buy_again"))
    tallies = {name: Tally(n=n, champion_hits=n // 2) for name, n in AGAIN.items()}
    plan = canary_plan(rules, tallies, AGAIN, 6 * DAY_MS)
    assert plan.steps == canary_plan(RULES, tallies, AGAIN, 6 * DAY_MS).steps == [5, 25, 50]
    step = Canary("v2", 50, 0, surfaces={name: Arms() for name in AGAIN})
    for name, n in AGAIN.items():
        for person in range(n):
            step.surfaces[name].add(person, person % 4 < 2, person % 2 == 0)
    verdict = judge_step(rules, step, DAY_MS)
    assert verdict.decision == "promote"
    assert verdict.reason.endswith("; not compared: buy_again (n = 20)")


def test_visitors_who_answer_repeatedly_widen_the_bounds() -> None:
    once, often = Arms(), Arms()
    for person in range(400):
        once.add(person, person % 2 == 0, person % 4 < 2)
        for _ in range(5):
            often.add(person, person % 2 == 0, person % 4 < 2)
    assert once.spread() == pytest.approx(1.0)
    assert often.spread() == pytest.approx(5.0)


def _looked_at_throughout(rate: float, percent: int, runs: int) -> list[str]:
    """What each of several canaries comes to, looked at 100 times; equal hit rates."""
    random, ends = np.random.default_rng(11), []
    sizes = 20, round(20 * (100 - percent) / percent)
    for _ in range(runs):
        step, end = Canary("v2", percent, 0, surfaces={"home": Arms()}), "open"
        arms = step.surfaces["home"]
        for hits, others in random.binomial(sizes, rate, size=(100, 2)).tolist():
            arms.canary = Side(arms.canary.hits + hits, arms.canary.n + sizes[0])
            arms.champion = Side(arms.champion.hits + others, arms.champion.n + sizes[1])
            verdict = judge_step(RULES, step, DAY_MS, 0.03)
            if verdict.decision == "reject":
                end = "breach"
                break
            if verdict.decision == "promote" and "better" in verdict.reason:
                end = "superior"
                break
        ends.append(end)
    return ends


@pytest.mark.parametrize(("rate", "percent"), [(0.01, 1), (0.3, 25), (0.6, 50)])
def test_without_a_difference_a_hundred_looks_seldom_find_one(rate: float, percent: int) -> None:
    ends = _looked_at_throughout(rate, percent, runs=400)
    assert ends.count("breach") <= 0.05 / len(STEPS) * len(ends)
    assert ends.count("superior") <= 0.05 * len(ends)


@pytest.mark.parametrize("percent", STEPS)
def test_a_sound_split_looked_at_a_hundred_times_is_seldom_called_broken(percent: int) -> None:
    random, share = np.random.default_rng(12), percent / 100
    broken = 0
    for _ in range(500):
        inside = random.binomial(100, share, size=100).cumsum().tolist()
        looks = [[n, 100 * (i + 1) - n] for i, n in enumerate(inside)]
        broken += any(split_p(counts, [share, 1 - share]) < 0.001 for counts in looks)
    assert broken <= 2


Moves = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(2, 5)),
        st.tuples(st.just("order"), st.sampled_from(["promote", "rollback", "pin", "unpin"])),
        st.tuples(st.just("serve"), st.sampled_from([0.1, 0.6, 0.9])),
        st.tuples(st.just("pairs"), st.sampled_from([0, 1, 3])),
        st.tuples(st.just("close"), st.integers(1, 9)),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(Moves)
def test_every_change_is_on_record_and_nothing_passes_without_evidence(
    moves: list[tuple[str, object]],
) -> None:
    decider, now_ms = _under_test(), START_MS + 2 * DAY_MS
    for number, (move, what) in enumerate(moves):
        before = decider.pointer
        entries, now_ms = _moved(decider, number, move, what, now_ms)
        after = decider.pointer
        if (before.champion, before.canary, before.canary_percent, before.pinned) != (
            after.champion, after.canary, after.canary_percent, after.pinned,
        ):  # fmt: skip
            assert entries
            assert after.sequence > before.sequence
        for entry in entries:
            if entry.kind == "promoted" and not entry.reason.startswith("ordered"):
                assert entry.evidence["home_n"] >= 20
                assert entry.evidence["home_low"] >= -0.2 or "time is up" in entry.reason
        again = msgspec.msgpack.decode(msgspec.msgpack.encode(decider.state), type=DeciderState)
        assert msgspec.msgpack.encode(again) == msgspec.msgpack.encode(decider.state)
        decider = Decider(SETTINGS, again)


def _moved(
    decider: Decider, number: int, move: str, what: object, now_ms: int
) -> tuple[list[ModelLog], int]:
    if move == "publish":
        return decider.publish(publish(f"v{what}"), 0, now_ms), now_ms
    if move == "order":
        said = order(str(what), decider.pointer.challenger, command_id=f"order-{number}")
        return decider.order(said, now_ms), now_ms
    if move == "close":
        now_ms += int(str(what)) * DAY_MS
        return decider.close(now_ms), now_ms
    if move == "serve" and decider.state.canary is not None:
        _serve(decider, 400, rate=float(str(what)))
    if move == "pairs" and decider.pointer.champion and decider.pointer.challenger:
        champion, rival = decider.pointer.champion, decider.pointer.challenger
        for turn in range(80):
            decider.answered("home", champion, now_ms)
            halves = Half(champion, turn % 2 == 0, False, 0), Half(rival, turn % 4 > 2, False, 0)
            equal = halves[0], Half(rival, turn % 2 == 0, False, 0)
            decider.pair("home", *(halves if what == 3 else equal), "challenger")
    return [], now_ms


def _at(decider: Decider, percent: int, now_ms: int = START_MS + DAY_MS) -> None:
    decider.state.canary = Canary("v2", percent, now_ms)
    decider.state.point(now_ms, canary="v2", canary_percent=percent)
