"""What is answered, from which state and engine, and what the shadow derives from it."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from version_factory import ITEMS, Version

from adapters.artefacts import ArtefactStore
from adapters.onnx import LoadedVersion, load_version
from core.canary import in_canary
from core.candidates import Ask, ground_of
from core.degrading import MODEL_FAILED, NO_MODEL
from core.features import FEATURE_NAMES, feature_schema_hash
from core.shop_state import ShopState
from schemas.codec import encode
from schemas.models import ModelPointer, Weights
from schemas.predictions import BASELINES, Prediction, RecommendRequest
from serving.answer import Moment, answer, is_explored
from serving.derive import ServedAnswer, derive
from serving.engine import Engine, refusal
from serving.filling import filled
from serving.remembering import RememberingState

DAY_MS = 86_400_000
NOW_MS = 1_300_000_000_000
MOMENT = Moment(wall_ms=NOW_MS, arrived_s=0.0, served_by="serving-1")
MORE = [f"x{number:02}" for number in range(40)]


def _state() -> ShopState:
    state = RememberingState()
    for item in [*ITEMS, *MORE]:
        state.put_item(item, f"Item {item}", 2.5, NOW_MS - 9 * DAY_MS)
    for number, item in enumerate([*ITEMS, *MORE]):
        state.apply(f"v{number % 5}", "purchase", [item, "a"], NOW_MS - 2 * DAY_MS + number)
    return state


@pytest.fixture
def champion(tmp_path: Path) -> LoadedVersion:
    version = Version()
    store = ArtefactStore(tmp_path.as_uri())
    name = version.put(store)
    key = version.key.public_key()
    return load_version(store, "recommend", name, key, feature_schema_hash())


def _ask(request_id: str = "r1", visitor: str = "v1", **fields: object) -> RecommendRequest:
    values = {"request_id": request_id, "visitor_id": visitor, "k": 5} | fields
    return RecommendRequest(**values)  # type: ignore[arg-type]


def _explored_id() -> str:
    return next(f"r{number}" for number in range(10_000) if is_explored(f"r{number}"))


def _one(state: ShopState, engine: Engine, request: RecommendRequest) -> Prediction:
    (prediction,) = answer(state, engine, [request], MOMENT)
    return prediction


def _items(prediction: Prediction) -> list[str]:
    return [slot.item_id for slot in prediction.slots]


def test_same_request_gets_the_same_answer_alone_or_in_a_batch(champion: LoadedVersion) -> None:
    state, engine = _state(), Engine(champion=champion)
    batch = answer(state, engine, [_ask("r0", "v0"), _ask(), _ask("r2", "v2")], MOMENT)
    alone = _one(_state(), engine, _ask())
    assert msgspec.structs.replace(batch[1], latency_ms=0.0) == msgspec.structs.replace(
        alone, latency_ms=0.0
    )
    assert encode(alone)


def test_answer_says_what_it_was_computed_from(champion: LoadedVersion) -> None:
    state = _state()
    given = _one(state, Engine(champion=champion), _ask(exclude_item_ids=["a"]))
    assert (given.arm, given.policy, given.degraded) == ("champion", "loop", None)
    assert given.context.history == state.history("v1", 50)
    assert given.context.seen_ms == state.seen_ms
    assert given.context.feature_schema == feature_schema_hash()
    assert "a" not in _items(given)
    rows = [*given.slots, *given.considered]
    assert {len(slot.features) for slot in rows} == {len(FEATURE_NAMES)}
    assert not set(_items(given)) & {slot.item_id for slot in given.considered}


def test_time_is_the_requests_own_in_replay_and_the_wall_clocks_else(
    champion: LoadedVersion,
) -> None:
    engine = Engine(champion=champion)
    assert _one(_state(), engine, _ask(as_of_ms=NOW_MS + 7)).served_at_ms == NOW_MS + 7
    assert _one(_state(), engine, _ask()).served_at_ms == NOW_MS


def test_explored_answer_changes_the_last_place_and_states_its_propensity(
    champion: LoadedVersion,
) -> None:
    engine, request_id = Engine(champion=champion), _explored_id()
    explored = _one(_state(), engine, _ask(request_id))
    plain = next(f"p{number}" for number in range(100) if not is_explored(f"p{number}"))
    greedy = _one(_state(), engine, _ask(plain))
    assert explored.arm == "explore"
    assert _items(explored)[:-1] == _items(greedy)[:-1]
    assert [slot.propensity for slot in explored.slots] == [1.0] * 4 + [1 / 20]
    assert not set(_items(explored)) & {slot.item_id for slot in explored.considered}
    assert _items(explored) == _items(_one(_state(), engine, _ask(request_id)))


def test_exploration_takes_about_one_request_in_a_hundred() -> None:
    count = sum(is_explored(f"request-{number}") for number in range(20_000))
    assert 150 < count < 250


def test_without_a_model_the_answer_is_popular_and_says_why() -> None:
    given = _one(_state(), Engine(), _ask())
    assert (given.arm, given.degraded, given.model_version) == ("fallback", NO_MODEL, "")
    assert _items(given)[0] == "a"
    assert len(given.slots) == 5


def test_a_model_that_fails_costs_its_answer_nothing_but_quality(champion: LoadedVersion) -> None:
    broken = replace(champion, graph=_Broken())
    given = _one(_state(), Engine(champion=broken), _ask())
    assert (given.arm, given.degraded) == ("fallback", MODEL_FAILED)
    assert len(given.slots) == 5


class _Broken:
    def logits(self, tokens: object) -> object:
        raise ValueError(f"no logits for {type(tokens).__name__}")


def _with_canary(champion: LoadedVersion, percent: int) -> Engine:
    pointer = ModelPointer(
        task="recommend", sequence=2, event_time_ms=0, champion=champion.version, canary="next",
        canary_percent=percent,
    )  # fmt: skip
    return Engine(champion=champion, canary=replace(champion, version="next"), pointer=pointer)


def test_the_canary_answers_its_visitors_and_the_champion_the_others(
    champion: LoadedVersion,
) -> None:
    batch = [_ask(f"q{number}", f"u{number}") for number in range(60)]
    given = answer(_state(), _with_canary(champion, 25), batch, MOMENT)
    for request, prediction in zip(batch, given, strict=True):
        inside = in_canary(request.visitor_id, "next", 25)
        assert prediction.model_version == ("next" if inside else champion.version)
        assert prediction.arm in {"canary" if inside else "champion", "explore"}
    assert {prediction.arm for prediction in given} >= {"canary", "champion"}


def test_a_canary_that_fails_degrades_its_own_answers_alone(champion: LoadedVersion) -> None:
    engine = _with_canary(champion, 50)
    engine = replace(engine, canary=replace(champion, version="next", graph=_Broken()))
    batch = [_ask(f"q{number}", f"u{number}") for number in range(60)]
    for request, prediction in zip(batch, answer(_state(), engine, batch, MOMENT), strict=True):
        inside = in_canary(request.visitor_id, "next", 50)
        assert (prediction.degraded == MODEL_FAILED) == inside


@pytest.mark.parametrize("named", [None, "another"])
def test_a_canary_that_the_pointer_does_not_name_answers_nobody(
    champion: LoadedVersion, named: str | None
) -> None:
    engine = _with_canary(champion, 100)
    assert engine.pointer is not None
    pointer = msgspec.structs.replace(engine.pointer, canary=named)
    given = _one(_state(), replace(engine, pointer=pointer), _ask())
    assert (given.arm, given.model_version) == ("champion", champion.version)


def test_unavailable_items_are_never_shown(champion: LoadedVersion) -> None:
    state = _state()
    state.put_item("a", "Item a", 2.5, NOW_MS, available=False)
    for engine in (Engine(champion=champion), Engine()):
        assert "a" not in _items(_one(state, engine, _ask(k=44)))


def test_discover_shows_nothing_the_visitor_bought(champion: LoadedVersion) -> None:
    state = _state()
    bought = set(state.history("v1", 50))
    for engine in (Engine(champion=champion), Engine()):
        given = _one(state, engine, _ask(surface="discover", k=20))
        assert len(given.slots) == 20
        assert not bought & set(_items(given))


@pytest.mark.parametrize("visitor", ["v1", "stranger"])
def test_list_is_as_long_as_the_catalogue_allows(champion: LoadedVersion, visitor: str) -> None:
    state = _state()
    for number in range(60):
        state.put_item(f"cold{number}", "", None, NOW_MS)
    given = _one(state, Engine(champion=champion), _ask(visitor=visitor, k=100))
    assert len(set(_items(given))) == 100
    assert [slot.position for slot in given.slots] == list(range(1, 101))
    assert not given.considered
    assert not given.slots[0].features


def test_empty_shop_gives_an_empty_list_rather_than_an_error(champion: LoadedVersion) -> None:
    assert _one(ShopState(), Engine(champion=champion), _ask()).slots == []
    assert _one(ShopState(), Engine(), _ask()).slots == []


def test_live_weights_rank_and_are_named(champion: LoadedVersion) -> None:
    weights = _weights("w1", {"popularity_28d": -1.0})
    engine = Engine(champion=champion).with_weights(weights)
    given = _one(_state(), engine, _ask())
    assert given.weights_version == "w1"
    assert given.slots[-1].score <= given.slots[0].score
    assert "a" not in _items(given)
    shipped = replace(champion, ranker=champion.ranker | {"discover": champion.ranker["home"]})
    engine = replace(engine, champion=shipped)
    assert _one(_state(), engine, _ask(surface="discover")).weights_version == "first"
    assert _one(_state(), engine, _ask(surface="elsewhere")).weights_version == "w1"


def test_weights_of_another_schema_or_out_of_bounds_are_refused() -> None:
    good = _weights("w1", {})
    assert refusal(msgspec.structs.replace(good, feature_schema="other")) is not None
    assert refusal(_weights("w2", {"own": float("nan")})) is not None
    assert refusal(_weights("w3", {"own": 1e6})) is not None
    assert refusal(_weights("w4", {"own": 1.0})) is None


def test_shadow_repeats_the_champion_from_the_logged_context(champion: LoadedVersion) -> None:
    state = _state()
    engine = Engine(champion=champion, challenger=champion, control=champion)
    served = answer(state, engine, [_ask("r1"), _ask("r2", "stranger", k=7)], MOMENT)
    derived = derive(state, engine, _logged(served), "shadow")
    for prediction in served:
        mine = [each for each in derived if each.derived_from == prediction.prediction_id]
        assert [each.policy for each in mine] == [*BASELINES, "challenger", "control"]
        assert {len(each.slots) for each in mine} == {len(prediction.slots)}
        assert _items(mine[-1]) == _items(prediction)
        assert _items(mine[-2]) == _items(prediction)


def test_control_keeps_its_frozen_weights(champion: LoadedVersion) -> None:
    live = _weights("live", {"own": 1.0})
    frozen = msgspec.structs.replace(_weights("frozen", {"own": -1.0}), role="control")
    engine = Engine(champion=champion, control=champion).with_weights(live)
    before = _derived_once(engine)
    engine = engine.with_weights(frozen)
    after = _derived_once(engine)
    assert (before[-1].weights_version, after[-1].weights_version) == ("live", "frozen")


def test_filled_list_keeps_its_head_and_repeats_nothing() -> None:
    ask = Ask(visitor_id="v1", surface="home", now_ms=NOW_MS, k=10)
    names = filled(ground_of(_state(), ask), ["x39", "a"])
    assert names[:2] == ["x39", "a"]
    assert len(set(names)) == 10


def test_remembering_state_scores_as_the_plain_one_does() -> None:
    state = _state()
    plain = ShopState.from_bytes(state.to_bytes())
    rows, counts = np.array([0, 3, 7]), np.array([1.0, 2.0, 1.0], np.float32)
    for _ in range(2):
        assert np.array_equal(
            state.cooccurrence_scores(rows, counts), plain.cooccurrence_scores(rows, counts)
        )
    for each in (state, plain):
        each.apply("v9", "purchase", ["a", "x00", "x07"], NOW_MS)
    assert np.array_equal(
        state.cooccurrence_scores(rows, counts), plain.cooccurrence_scores(rows, counts)
    )


def _logged(served: list[Prediction]) -> list[ServedAnswer]:
    return [msgspec.json.decode(encode(each), type=ServedAnswer) for each in served]


def _derived_once(engine: Engine) -> list[Prediction]:
    served = answer(_state(), engine, [_ask()], MOMENT)
    return derive(_state(), engine, _logged(served), "shadow")


def _weights(version: str, coef: dict[str, float]) -> Weights:
    return Weights(
        task="recommend",
        surface="home",
        role="live",
        model_version="m",
        version=version,
        event_time_ms=NOW_MS,
        feature_schema=feature_schema_hash(),
        names=list(FEATURE_NAMES),
        coef=[coef.get(name, 0.0) for name in FEATURE_NAMES],
        bias=0.0,
    )
