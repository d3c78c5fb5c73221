"""What an answer loses while a circuit is open, and what it keeps: step by step, and always."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from version_factory import ITEMS, Version

from adapters.artefacts import ArtefactStore
from adapters.onnx import LoadedVersion, load_version
from core.degrading import (
    CIRCUITS,
    MODEL_FAILED,
    NO_MODEL,
    OLD_MODEL,
    OLD_WEIGHTS,
    SLOW_MODEL,
    STALE_STATE,
)
from core.features import FEATURE_NAMES, feature_schema_hash
from core.ranking import RankerWeights
from core.rule_book import RuleBook
from core.rules import parse_rules
from core.shop_state import ShopState
from schemas.models import ModelPointer
from schemas.predictions import Filters, Prediction, RecommendRequest, SimilarRequest
from serving.answer import Moment, answer
from serving.engine import Engine
from serving.remembering import RememberingState

DAY_MS = 86_400_000
NOW_MS = 1_300_000_000_000
MORE = [f"x{number:02}" for number in range(40)]
BOUGHT = ["b", "x03", "x07", "x11"]
BLOCKED, ACCESSORY, DEAR = "x05", "x39", "x38"
BOOK = RuleBook(parse_rules(f"[[block]]\nitems = ['{BLOCKED}']"), "rules-1")


def _weights(version: str) -> RankerWeights:
    coef = np.array([0.1 * (not name.startswith("sequence_m")) for name in FEATURE_NAMES])
    return RankerWeights(FEATURE_NAMES, coef, 0.0, version)


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> LoadedVersion:
    version = Version()
    store = ArtefactStore(tmp_path_factory.mktemp("artefacts").as_uri())
    name, key = version.put(store), version.key.public_key()
    loaded = load_version(store, "recommend", name, key, feature_schema_hash())
    return replace(loaded, ranker={"home": _weights("shipped")})


@pytest.fixture(scope="module")
def state() -> ShopState:
    """Visitor v bought four items, x11 with an accessory last; others bought some of each."""
    state = RememberingState()
    for item in [*ITEMS, *MORE]:
        compatible = [ACCESSORY] if item == "x11" else []
        price = 99.0 if item == DEAR else 2.5
        state.put_item(item, f"Item {item}", price, NOW_MS - 9 * DAY_MS, compatible_with=compatible)
    for number, item in enumerate(MORE[:38]):
        near = MORE[(number + 1) % 38]
        state.apply(f"o{number}", "purchase", [item, near, "a"], NOW_MS - 3 * DAY_MS + number)
    for day, item in enumerate(BOUGHT):
        state.apply("v", "purchase", [item], NOW_MS - (9 - day) * DAY_MS)
    return state


def _engine(champion: LoadedVersion | None, *, live: bool = True) -> Engine:
    return Engine(champion=champion, live={"home": _weights("live")} if live else {})


def _one(
    state: ShopState, engine: Engine, *circuits: str, similar: str = "", **fields: Any
) -> Prediction:
    moment = Moment(NOW_MS, 0.0, "serving-1", circuits)
    wanted = {"request_id": "p", "visitor_id": "v", "k": 12} | fields
    request = SimilarRequest(item_id=similar, **wanted) if similar else RecommendRequest(**wanted)
    (given,) = answer(state, engine, [request], moment, BOOK, 0)
    return given


def _items(given: Prediction) -> list[str]:
    return [slot.item_id for slot in given.slots]


def _sources(given: Prediction) -> set[str]:
    return {name for slot in given.slots for name in slot.source.split("+")}


def test_without_a_model_the_shoppers_own_items_come_first(state: ShopState) -> None:
    given = _one(state, Engine(), k=44)
    assert (given.arm, given.degraded, given.weights_version) == ("fallback", NO_MODEL, "plain")
    assert set(_items(given)[: len(BOUGHT)]) == set(BOUGHT)
    assert {"own", "cooccurrence", "popularity", "relations"} <= _sources(given)
    assert "sequence" not in _sources(given)
    assert {slot.item_id for slot in given.slots if "own" in slot.source} == set(BOUGHT)
    assert all(not slot.features and slot.propensity == 1.0 for slot in given.slots)


def test_a_stranger_without_a_model_gets_what_is_popular(state: ShopState) -> None:
    given = _one(state, Engine(), visitor_id="stranger")
    assert (_items(given)[0], _sources(given)) == ("a", {"popularity"})


def test_weights_learned_live_rank_without_a_model(state: ShopState) -> None:
    assert _one(state, _engine(None)).weights_version == "live"


@pytest.mark.parametrize("circuit", [MODEL_FAILED, SLOW_MODEL])
def test_a_failing_or_slow_model_takes_its_scores_alone(
    state: ShopState, champion: LoadedVersion, circuit: str
) -> None:
    given = _one(state, _engine(champion), circuit)
    assert (given.arm, given.degraded, given.model_version) == ("fallback", circuit, "")
    assert given.weights_version == "live"
    assert _sources(given) >= {"own", "cooccurrence", "popularity"}
    assert _one(state, _engine(champion, live=False), circuit).weights_version == "shipped"


def test_an_old_model_takes_the_weights_it_shipped_with(
    state: ShopState, champion: LoadedVersion
) -> None:
    assert _one(state, _engine(champion), OLD_MODEL).weights_version == "live"
    given = _one(state, _engine(champion, live=False), OLD_MODEL)
    assert (given.arm, given.degraded, given.weights_version) == ("fallback", OLD_MODEL, "plain")
    assert "sequence" not in _sources(given)


def test_old_weights_give_way_to_those_that_the_version_ships(
    state: ShopState, champion: LoadedVersion
) -> None:
    given = _one(state, _engine(champion), OLD_WEIGHTS)
    assert (given.arm, given.degraded) == ("champion", OLD_WEIGHTS)
    assert (given.model_version, given.weights_version) == (champion.version, "shipped")
    assert {len(slot.features) for slot in given.slots} == {len(FEATURE_NAMES)}  # it is learned


def test_a_stale_state_takes_own_items_and_the_model_but_not_what_goes_with_them(
    state: ShopState, champion: LoadedVersion
) -> None:
    given = _one(state, _engine(champion), STALE_STATE, k=44)
    assert (given.arm, given.degraded) == ("fallback", STALE_STATE)
    assert _sources(given) & {"own", "sequence"} == set()
    assert _sources(given) >= {"cooccurrence", "popularity", "relations"}


def test_what_the_request_brings_is_not_stale(state: ShopState, champion: LoadedVersion) -> None:
    engine = _engine(champion)
    for fields in ({"history_item_ids": ["x20", "x21"]}, {"similar": "x20"}):
        whole, stale = _one(state, engine, **fields), _one(state, engine, STALE_STATE, **fields)
        assert (stale.arm, stale.degraded) == ("champion", STALE_STATE)
        assert stale.slots == whole.slots


def test_a_stale_shopper_still_buys_again_what_was_bought(
    state: ShopState, champion: LoadedVersion
) -> None:
    given = _one(state, _engine(champion), STALE_STATE, surface="buy_again")
    assert set(_items(given)) == set(BOUGHT)
    assert given.slots[0].source.startswith("own")


def test_a_canary_is_spared_no_failure_and_does_not_grow_old_with_the_champion(
    state: ShopState, champion: LoadedVersion
) -> None:
    pointer = ModelPointer(
        task="recommend", sequence=2, event_time_ms=0, champion=champion.version, canary="next",
        canary_percent=100,
    )  # fmt: skip
    engine = replace(_engine(champion), canary=replace(champion, version="next"), pointer=pointer)
    for circuit in (MODEL_FAILED, OLD_MODEL, SLOW_MODEL):
        given = _one(state, engine, circuit)
        assert (given.arm, given.model_version, given.degraded) == ("canary", "next", None)
    assert _one(state, engine, STALE_STATE).degraded == STALE_STATE


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_is_open_an_answer_keeps_its_meaning_and_says_the_truth(
    state: ShopState, champion: LoadedVersion, data: st.DataObject
) -> None:
    circuits = data.draw(st.sets(st.sampled_from(CIRCUITS)))
    has_model, live = data.draw(st.booleans()), data.draw(st.booleans())
    surface = data.draw(st.sampled_from(["home", "discover", "buy_again", "similar"]))
    fields: dict[str, Any] = {
        "k": data.draw(st.integers(1, 44)),
        "exclude_item_ids": data.draw(st.lists(st.sampled_from([*BOUGHT, *MORE]), max_size=4)),
        "filters": Filters(price_to=9.0),
    }
    fields |= {"similar": "x20"} if surface == "similar" else {"surface": surface}
    given = _one(state, _engine(champion if has_model else None, live=live), *circuits, **fields)
    items, sources = _items(given), _sources(given)

    first = next((name for name in CIRCUITS if name in circuits), None)
    assert given.degraded == (first if has_model else NO_MODEL)
    assert not {BLOCKED, DEAR, *fields["exclude_item_ids"]} & set(items)
    assert len(set(items)) == len(items) <= fields["k"]
    assert [slot.position for slot in given.slots] == list(range(1, len(items) + 1))
    if surface == "discover":
        assert not set(items) & set(BOUGHT)
    if surface == "buy_again":
        assert set(items) <= set(BOUGHT)
    assert {slot.item_id for slot in given.slots if "own" in slot.source} <= set(BOUGHT)
    own_is_stale = STALE_STATE in circuits and surface in ("home", "discover")
    assert not (own_is_stale and "own" in sources)
    of_state = STALE_STATE in circuits and surface != "similar"
    heard = has_model and not of_state and not {MODEL_FAILED, OLD_MODEL, SLOW_MODEL} & circuits
    assert (given.arm, given.model_version) == (
        ("champion", champion.version) if heard else ("fallback", "")
    )
    assert heard or "sequence" not in sources
    assert all(slot.propensity == 1.0 for slot in given.slots)
    may_rank = {"live": live and OLD_WEIGHTS not in circuits}
    may_rank["shipped"] = has_model and OLD_MODEL not in circuits
    assert given.weights_version == next((n for n, may in may_rank.items() if may), "plain")
