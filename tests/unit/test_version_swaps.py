"""Versions side by side within a memory budget: what stays, what goes, what a rollback costs."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from swaps_factory import Replica, following

from core.features import FEATURE_NAMES, feature_schema_hash
from core.settings import Settings
from core.shop_state import ShopState
from schemas.errors import BadSettings
from schemas.models import Weights
from schemas.predictions import RecommendRequest
from serving.answer import Moment, answer
from serving.library import Library
from serving.versions import SHADOW_ROLES


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    with following(tmp_path) as made:
        yield made


def budget(replica: Replica, versions: float) -> None:
    """Room for so many versions; all of these tests are of one size."""
    (size,) = set(replica.library.sizes.values())
    replica.library.budget_bytes = int(versions * size)


def test_no_room_for_any_version_is_the_operators_fault(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="SHOPLOOP_VERSIONS_MEMORY_MB"):
        Library(Settings(home=str(tmp_path), versions_memory_mb=0))


def test_a_rollback_needs_no_file_when_the_former_champion_still_fits(replica: Replica) -> None:
    first, second = replica.make(1), replica.make(2)
    replica.point(first)
    budget(replica, 2)
    replica.point(second, previous=first)
    shutil.rmtree(replica.store.root)
    replica.point(first, previous=second)
    assert replica.champion == first
    assert replica.refusals == []
    assert [entry.model_version for entry in replica.said] == [first, second, first]


def test_what_no_role_needs_goes_first_and_the_former_champion_last(replica: Replica) -> None:
    names = [replica.make(seed) for seed in range(1, 5)]
    replica.point(names[0], canary=names[1], canary_percent=10)
    budget(replica, 3)
    replica.point(names[0], canary=names[2], canary_percent=10)
    assert set(replica.library.sizes) == set(names[:3])
    replica.point(names[3])
    assert set(replica.library.sizes) == {names[0], names[2], names[3]}
    replica.point(names[1])
    assert set(replica.library.sizes) == {names[0], names[3], names[1]}


def test_a_champion_that_does_not_fit_beside_the_one_in_use_is_refused(replica: Replica) -> None:
    first, second = replica.make(1), replica.make(2)
    replica.point(first)
    budget(replica, 1.5)
    replica.point(second)
    assert replica.champion == first
    assert replica.refusals == [(second, "over_budget")]


def test_a_canary_gives_way_to_a_new_champion_and_comes_back_when_it_fits(
    replica: Replica,
) -> None:
    first, second, third = (replica.make(seed) for seed in (1, 2, 3))
    replica.point(first, canary=second, canary_percent=10)
    budget(replica, 2)
    replica.point(third, canary=second, canary_percent=10)
    engine = replica.versions.engine
    assert replica.champion == third
    assert engine.canary is not None
    assert engine.canary.version == second
    assert set(replica.library.sizes) == {third, second}


def test_a_canary_never_takes_the_room_of_the_champion(replica: Replica) -> None:
    first, second = replica.make(1), replica.make(2)
    replica.point(first)
    budget(replica, 1)
    replica.point(first, canary=second, canary_percent=10)
    assert replica.versions.engine.canary is None
    assert replica.versions.engine.answers("anyone")[1] == "champion"
    assert replica.refusals == [(second, "over_budget")]


def test_the_shadow_holds_champion_challenger_and_control_at_once(tmp_path: Path) -> None:
    with following(tmp_path, SHADOW_ROLES) as shadow:
        first, second, third = (shadow.make(seed) for seed in (1, 2, 3))
        shadow.point(second, challenger=third, control=first)
        engine = shadow.versions.engine
        held = (engine.champion, engine.challenger, engine.control)
        assert [each.version for each in held if each is not None] == [second, third, first]


def test_a_version_comes_good_where_there_was_none(replica: Replica) -> None:
    replica.point("20110101-0000000000000000")
    assert replica.champion is None
    assert replica.refusals == [("20110101-0000000000000000", "missing_file")]
    replica.point(replica.make(1))
    assert replica.champion == replica.made[1]


def test_a_key_file_that_goes_bad_ends_no_answers_and_is_read_again(
    replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = replica.make(1), replica.make(2)
    replica.point(first)
    key = replica.home / "keys" / "verify.pem"
    good = key.read_bytes()
    key.write_bytes(b"half a ke")

    def mend() -> None:
        deadline = time.monotonic() + 120
        while "will try again" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
        key.write_bytes(good)

    mending = threading.Thread(target=mend)
    mending.start()
    replica.point(second)
    mending.join()
    assert "verify.pem" in caplog.text
    assert (replica.champion, replica.refusals) == (second, [])


def test_a_late_joiner_holds_the_engine_of_one_that_saw_every_pointer(tmp_path: Path) -> None:
    with following(tmp_path) as early:
        names = [early.make(seed) for seed in (1, 2, 3)]
        early.point(names[0])
        early.point(names[1], canary=names[2], canary_percent=25)
        early.versions.weigh(_weights(7))
        early.point(names[2], canary=names[0], canary_percent=25)
        with following(tmp_path) as late:
            late.versions.weigh(_weights(7))
            late.point(names[2], canary=names[0], canary_percent=25)
            for visitor in map(str, range(50)):
                one, other = early.versions.engine, late.versions.engine
                assert _named(one.answers(visitor)) == _named(other.answers(visitor))
                assert _answers(one, visitor) == _answers(other, visitor)


def test_answers_during_swaps_of_versions_and_weights_hold_what_belongs_together(
    replica: Replica,
) -> None:
    names = [replica.make(seed) for seed in (1, 2)]
    replica.point(names[0])
    found: set[tuple[str, str, tuple[tuple[str, float], ...]]] = set()
    seen: set[str] = set()
    stop, failed = threading.Event(), []

    def hammer() -> None:
        try:
            while not stop.is_set():
                given = _answers(replica.versions.engine, "v1")
                found.add(given)
                seen.add(given[0])
        except BaseException as error:  # noqa: BLE001 - raised again by the test
            failed.append(error)

    threads = [threading.Thread(target=hammer) for _ in range(2)]
    for thread in threads:
        thread.start()
    turn, deadline = 0, time.monotonic() + 60.0
    while turn < 40 or (len(seen) < len(names) and time.monotonic() < deadline):
        replica.versions.weigh(_weights(turn % 3))
        replica.point(names[turn % 2])
        turn += 1
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed
    by_versions = {(version, weights) for version, weights, _ in found}
    assert len(found) == len(by_versions), "two lists under one pair of versions"
    assert {version for version, _ in by_versions} == set(names)


def _weights(number: int) -> Weights:
    return Weights(
        task="recommend",
        surface="home",
        role="live",
        model_version="",
        version=f"w{number}",
        event_time_ms=1,
        feature_schema=feature_schema_hash(),
        names=list(FEATURE_NAMES),
        coef=[0.1 * (number + 1) + 0.01 * place for place in range(len(FEATURE_NAMES))],
        bias=0.0,
    )


def _named(route: tuple[object, str]) -> tuple[str, str]:
    version, arm = route
    return str(getattr(version, "version", None)), arm


def _answers(engine: object, visitor: str) -> tuple[str, str, tuple[tuple[str, float], ...]]:
    state = ShopState()
    for place, item in enumerate("abcd"):
        state.put_item(item, item, 1.0 + place, 1_000)
    state.apply(visitor, "purchase", ["a", "b"], 1_000)
    state.apply("another", "purchase", ["b", "c", "d"], 2_000)
    request = RecommendRequest(request_id="r", visitor_id=visitor, k=4, as_of_ms=3_000)
    (given,) = answer(state, engine, [request], Moment(3_000, 0.0, "serving-1"))  # type: ignore[arg-type]
    slots = tuple((slot.item_id, slot.score) for slot in given.slots)
    return given.model_version, given.weights_version, slots
