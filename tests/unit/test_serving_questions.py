"""Questions beyond a plain list: ranking again, given histories, similar items, rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from version_factory import ITEMS, Version

from adapters.artefacts import ArtefactStore
from adapters.onnx import LoadedVersion, load_version
from core.candidates import PINNED, Ask, Ground
from core.features import FEATURE_NAMES, feature_schema_hash
from core.ranking import Ranked, RankerWeights
from core.shop_state import ShopState
from schemas.codec import MAX_QUESTION_BYTES, MAX_RECORD_BYTES, MAX_SENT_BYTES, encode
from schemas.errors import InvalidEvent
from schemas.predictions import Filters, Prediction, RecommendRequest, SimilarRequest
from serving.answer import Moment, answer
from serving.derive import ServedAnswer, derive
from serving.engine import Engine
from serving.questions import Reading
from serving.remembering import RememberingState

DAY_MS = 86_400_000
NOW_MS = 1_300_000_000_000
MOMENT = Moment(wall_ms=NOW_MS, arrived_s=0.0, served_by="serving-1")
MORE = [f"x{number:02}" for number in range(40)]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    version = Version()
    store = ArtefactStore(tmp_path.as_uri())
    name = version.put(store)
    loaded = load_version(store, "recommend", name, version.key.public_key(), feature_schema_hash())
    coef = np.zeros(len(FEATURE_NAMES))
    for name in ("own", "cooccurrence", "popularity_28d", "like_baskets", "sequence"):
        coef[FEATURE_NAMES.index(name)] = 1.0
    loaded = replace(loaded, ranker={"home": RankerWeights(FEATURE_NAMES, coef, 0.0, "w")})
    return Engine(champion=loaded, challenger=loaded, control=loaded)


def _state() -> ShopState:
    state = RememberingState()
    for item in [*ITEMS, *MORE]:
        state.put_item(item, f"Item {item}", 2.5, NOW_MS - 9 * DAY_MS)
    for number, item in enumerate([*ITEMS, *MORE]):
        state.apply(f"v{number % 5}", "purchase", [item, "a"], NOW_MS - 2 * DAY_MS + number)
    return state


def _ask(**fields: object) -> RecommendRequest:
    wanted = {"request_id": "p1", "visitor_id": "v1", "k": 5}
    return msgspec.convert(wanted | fields, RecommendRequest)


def _similar(**fields: object) -> SimilarRequest:
    wanted = {"request_id": "p1", "visitor_id": "v1", "item_id": "x03", "k": 5}
    return msgspec.convert(wanted | fields, SimilarRequest)


def _one(
    state: ShopState,
    engine: Engine,
    request: RecommendRequest | SimilarRequest,
    rules: "_Rules | None" = None,
) -> Prediction:
    (prediction,) = answer(state, engine, [request], MOMENT, rules)
    return prediction


def _items(prediction: Prediction) -> list[str]:
    return [slot.item_id for slot in prediction.slots]


def test_given_items_are_ranked_again_all_of_them_and_nothing_else(engine: Engine) -> None:
    given = ["x31", "a", "x02", "x02", "c"]
    found = _one(_state(), engine, _ask(candidate_item_ids=given, k=20))
    assert sorted(_items(found)) == ["a", "c", "x02", "x31"]
    assert {len(slot.features) for slot in found.slots} == {len(FEATURE_NAMES)}
    assert {slot.source for slot in found.slots} == {"asked"}
    assert found.context.candidate_item_ids == given


def test_a_given_item_scores_by_the_same_features_as_in_a_full_list(engine: Engine) -> None:
    full = _one(_state(), engine, _ask(k=30))
    again = _one(_state(), engine, _ask(candidate_item_ids=_items(full), k=30))
    assert _items(again) == _items(full)
    ranks = [place for place, name in enumerate(FEATURE_NAMES) if name.endswith("_rank")]
    for one, other in zip(full.slots, again.slots, strict=True):
        kept = np.delete(one.features, ranks).tolist()
        assert np.delete(other.features, ranks).tolist() == pytest.approx(kept, abs=2e-6)


def test_given_items_that_are_not_shown_are_logged_as_considered(engine: Engine) -> None:
    found = _one(_state(), engine, _ask(candidate_item_ids=MORE, k=3))
    assert len(found.slots) == 3
    assert len(found.considered) == 20
    assert {slot.item_id for slot in found.considered} <= set(MORE) - set(_items(found))


def test_unheard_of_items_come_last_and_unavailable_and_excluded_ones_not_at_all(
    engine: Engine,
) -> None:
    state = _state()
    state.put_item("x05", "Item x05", 1.0, NOW_MS, available=False)
    fields = {"candidate_item_ids": ["new", "x05", "b", "x06"], "exclude_item_ids": ["x06"]}
    for by in (engine, Engine()):
        assert _items(_one(state, by, _ask(**fields))) == ["b", "new"]
    assert _items(_one(state, engine, _ask(**fields, filters={}))) == ["b"]


def test_a_given_history_stands_in_for_what_is_known_of_the_visitor(engine: Engine) -> None:
    state, given = _state(), ["x01", "x02", "unheard of"]
    found = _one(state, engine, _ask(history_item_ids=given))
    again = _one(state, engine, _ask(history_item_ids=given, visitor_id="stranger"))
    assert found.context.history == given
    assert found.context.history_given
    assert _items(found) == _items(again)
    assert "own" in {source for slot in found.slots for source in slot.source.split("+")}


def test_similar_items_are_near_the_one_and_the_same_for_everybody(engine: Engine) -> None:
    state = _state()
    found = _one(state, engine, _similar())
    assert (found.surface, found.context.item_id) == ("similar", "x03")
    assert "x03" not in _items(found)
    assert _items(found) == _items(_one(state, engine, _similar(visitor_id="stranger")))
    sources = {name for slot in found.slots for name in slot.source.split("+")}
    assert sources <= {"cooccurrence", "sequence", "text"}
    assert {"cooccurrence", "text"} <= sources
    assert len(_one(state, Engine(), _similar()).slots) == 5
    assert len(_one(state, engine, _similar(item_id="unheard of")).slots) == 5


@pytest.mark.parametrize("has_model", [True, False])
def test_buy_again_lists_only_what_the_visitor_has_bought(engine: Engine, has_model: bool) -> None:
    state, by = _state(), engine if has_model else Engine()
    bought = set(state.history("v1", 50))
    found = _one(state, by, _ask(surface="buy_again", k=50))
    assert set(_items(found)) == bought
    assert _one(state, by, _ask(surface="buy_again", visitor_id="stranger")).slots == []


def _with_new_item() -> ShopState:
    state = _state()
    state.put_item("x03", "Red retrospot mug", 2.5, NOW_MS)
    state.put_item("new", "Pink retrospot mugs", 2.5, NOW_MS)
    return state


def test_an_item_that_nobody_bought_is_found_by_its_title(engine: Engine) -> None:
    state = _with_new_item()
    similar = _one(state, engine, _similar(k=60))
    by_id = {slot.item_id: slot for slot in similar.slots}
    assert by_id["new"].source == "text"
    fresh = _one(state, engine, _ask(visitor_id="new one", history_item_ids=["x03"], k=20))
    listed = [*fresh.slots, *fresh.considered]
    assert {slot.source for slot in listed if slot.item_id == "new"} == {"text"}


def test_a_new_shopper_who_looked_at_an_item_is_shown_ones_with_like_titles(
    engine: Engine,
) -> None:
    state = _with_new_item()
    state.apply("just came", "view_item", ["x03"], NOW_MS)
    found = _one(state, engine, _ask(visitor_id="just came", k=20))
    assert "new" in {slot.item_id for slot in [*found.slots, *found.considered]}
    state.apply("just came", "purchase", ["x03"], NOW_MS)
    found = _one(state, engine, _ask(visitor_id="just came", k=20))
    assert "text" not in {name for slot in found.slots for name in slot.source.split("+")}


@dataclass(frozen=True)
class _Rules:
    """Bars one item, pins another to the first place."""

    barred: str
    pinned: str
    name: str = "rules-1"

    def allowed(self, state: ShopState, ask: Ask) -> NDArray[np.bool_] | None:
        passed = np.ones(len(state.catalogue), np.bool_)
        passed[state.catalogue.row_of[self.barred]] = False
        return passed

    def brought(self, ground: Ground) -> Mapping[int, NDArray[np.int64]]:
        return {PINNED: np.array([ground.state.catalogue.row_of[self.pinned]])}

    def reordered(self, ground: Ground, order: Ranked) -> Ranked:
        ids = order.candidates.item_ids
        return replace(order, order=sorted(order.order, key=lambda i: ids[i] != self.pinned))

    def served(self, state: ShopState, ask: Ask, item_ids: Sequence[str]) -> None:
        assert self.barred not in item_ids


def test_the_shops_rules_bar_bring_and_reorder_and_are_named(engine: Engine) -> None:
    state = _state()
    state.put_item("cold", "Never sold", 2.5, NOW_MS)
    found = _one(state, engine, _ask(k=20), _Rules("a", "cold"))
    assert found.context.rules == "rules-1"
    assert (_items(found)[0], found.slots[0].source) == ("cold", "pin")
    assert "a" not in _items(found)
    assert len(found.slots[0].features) == len(FEATURE_NAMES)


@pytest.mark.parametrize(
    "request_",
    [
        _ask(candidate_item_ids=MORE, k=4),
        _ask(history_item_ids=["x01", "x02"], exclude_item_ids=["x04"]),
        _ask(surface="buy_again", k=3),
        _similar(),
    ],
)
def test_the_shadow_asks_what_serving_was_asked(
    engine: Engine, request_: RecommendRequest | SimilarRequest
) -> None:
    state, rules = _state(), _Rules("x10", "x11")
    served = _one(state, engine, request_, rules)
    logged = [msgspec.json.decode(encode(served), type=ServedAnswer)]
    by_policy = {each.policy: each for each in derive(state, engine, logged, "shadow", rules)}
    assert _items(by_policy["control"]) == _items(served)
    allowed = set(request_.candidate_item_ids) if isinstance(request_, RecommendRequest) else set()
    for derived in by_policy.values():
        assert len(derived.slots) == len(served.slots)
        assert not {"x10", "x04"} & set(_items(derived)) or not request_.exclude_item_ids
        assert not allowed or set(_items(derived)) <= allowed


def test_filters_and_diversity_are_logged_as_they_were_asked(engine: Engine) -> None:
    filters = Filters(price_to=3.0)
    found = _one(_state(), engine, _ask(filters=filters, diversity=0.5))
    assert (found.context.filters, found.context.diversity) == (filters, 0.5)
    assert _one(_state(), engine, _similar(filters=filters)).context.filters == filters


def test_loaded_version_of_a_similar_request_hears_the_item_alone(engine: Engine) -> None:
    heard: list[list[str]] = []
    champion = engine.champion
    assert champion is not None
    _one(_state(), Engine(champion=_listening(champion, heard)), _similar(item_id="b"))
    assert heard == [["b"]]


def _listening(version: LoadedVersion, heard: list[list[str]]) -> LoadedVersion:
    class Listening(LoadedVersion):
        def sequences(self, histories):  # type: ignore[no-untyped-def]
            heard.extend(list(history) for history in histories)
            return super().sequences(histories)

    return Listening(**vars(version))


BROKER_TAKES_BYTES = 1_048_588  # as it comes
LONG = "\U0001f600" * 124  # with four digits an id of 128 characters, 500 bytes


def test_the_answer_to_the_largest_question_is_a_record_that_a_broker_takes(
    engine: Engine,
) -> None:
    state = _state()
    names = [f"{LONG}{number:04}" for number in range(150)]
    for name in names:
        state.put_item(name, "", 2.5, NOW_MS)
        state.apply("v1", "purchase", [name], NOW_MS)
    asked = {"visitor_id": "v1", "k": 100, "filters": {"excluded_categories": [""]}}
    room = MAX_QUESTION_BYTES - len(encode(asked))
    body = encode({**asked, "filters": {"excluded_categories": ["x" * room]}})
    question = Reading("recommend")(body, "p1")
    assert isinstance(question, RecommendRequest)
    found = _one(state, engine, question)
    assert (len(found.slots), len(found.context.history)) == (100, 50)
    assert len(encode(found)) < MAX_RECORD_BYTES < MAX_SENT_BYTES < BROKER_TAKES_BYTES
    with pytest.raises(InvalidEvent) as caught:
        Reading("recommend")(body + b" ", "p1")
    assert caught.value.reason == "too_large"
