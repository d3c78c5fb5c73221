"""The shop's rules, a request's filters, diversity, limits of exposure and relations in answers."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from threadpoolctl import threadpool_limits
from version_factory import ITEMS, Version

from adapters.artefacts import ArtefactStore
from adapters.onnx import load_version
from core.features import FEATURE_NAMES, feature_schema_hash
from core.ranking import RankerWeights
from core.rule_book import RuleBook
from core.rules import parse_rules
from core.rules_in_force import KEPT_SURFACES
from core.shop_state import ShopState
from schemas.codec import encode
from schemas.predictions import Filters, Prediction, RecommendRequest, SimilarRequest
from serving.answer import Moment, answer, is_explored
from serving.derive import ServedAnswer, derive
from serving.engine import Engine
from serving.remembering import RememberingState

DAY_MS = 86_400_000
NOW_MS = 1_300_000_000_000
MOMENT = Moment(wall_ms=NOW_MS, arrived_s=0.0, served_by="serving-1")
MORE = [f"x{number:02}" for number in range(40)]
CATEGORIES = ("Home/Kitchen", "Home/Light", "Garden", "")
NOTHING = Engine()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As in serving: the matrices are small, a second thread only spins."""
    with threadpool_limits(1):
        yield


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
    """Item x07 is of category CATEGORIES[3], costs 7 and has a title of its own."""
    state = RememberingState()
    for number, item in enumerate([*MORE, *ITEMS]):
        category = CATEGORIES[number % 4]
        state.put_item(item, f"Item {item}", float(number), NOW_MS, category=category, stock=5)
    for number, item in enumerate([*ITEMS, *MORE]):
        state.apply(f"v{number % 5}", "purchase", [item, "a"], NOW_MS - 2 * DAY_MS + number)
    return state


def _ask(**fields: object) -> RecommendRequest:
    wanted = {"request_id": "p1", "visitor_id": "v1", "k": 5}
    return msgspec.convert(wanted | fields, RecommendRequest)


def _book(text: str = "", **fields: bool) -> RuleBook:
    return RuleBook(parse_rules(text), "rules-1", **fields)


def _one(
    state: ShopState,
    engine: Engine,
    request: RecommendRequest | SimilarRequest,
    book: RuleBook | None = None,
    explored: int = 0,
) -> Prediction:
    (prediction,) = answer(state, engine, [request], MOMENT, book, explored)
    return prediction


def _items(prediction: Prediction) -> list[str]:
    return [slot.item_id for slot in prediction.slots]


def _pin(item: str, position: int) -> str:
    return f"[[pin]]\nitem = '{item}'\nposition = {position}\n"


@pytest.mark.parametrize("fields", [{}, {"surface": "discover"}, {"candidate_item_ids": MORE}])
def test_without_rules_and_wishes_every_answer_is_as_it_was(
    engine: Engine, fields: dict[str, object]
) -> None:
    for by in (engine, NOTHING):
        for number in range(30):
            request = _ask(request_id=f"r{number}", **fields)
            plain = _one(_state(), by, request, explored=5_000)
            ruled = _one(_state(), by, request, RuleBook(), explored=5_000)
            assert (ruled.slots, ruled.considered) == (plain.slots, plain.considered)


def test_filters_of_a_request_hold_with_and_without_a_model(engine: Engine) -> None:
    state = _state()
    state.put_item("x04", "Item x04", 4.0, NOW_MS, category="Home/Kitchen", stock=0)
    filters = Filters(categories=["Home"], excluded_categories=["Home/Light"], price_to=20)
    for by in (engine, NOTHING):
        found = _items(_one(state, by, _ask(k=50, filters=filters), RuleBook()))
        assert sorted(found) == ["x00", "x08", "x12", "x16", "x20"]
        filters_too = msgspec.structs.replace(filters, in_stock_only=False)
        found = _items(_one(state, by, _ask(k=50, filters=filters_too), RuleBook()))
        assert sorted(found) == ["x00", "x04", "x08", "x12", "x16", "x20"]


def test_a_list_to_rank_again_obeys_blocks_filters_and_requirements(engine: Engine) -> None:
    book = _book("[[block]]\nitems = ['x01']\n[[require]]\nprice_to = 30")
    request = _ask(
        k=20,
        candidate_item_ids=["x01", "x02", "x03", "x39", "unheard of"],
        filters=Filters(excluded_categories=["Garden"]),
    )
    for by in (engine, NOTHING):
        assert _items(_one(_state(), by, request, book)) == ["x03"]


def test_a_pinned_item_stands_in_its_place_and_is_not_learned_from(engine: Engine) -> None:
    plain = _one(_state(), engine, _ask())
    found = _one(_state(), engine, _ask(), _book(_pin("x33", 2) + _pin("b", 9)))
    assert _items(found) == [_items(plain)[0], "x33", *_items(plain)[1:4]]
    slot = found.slots[1]
    assert (slot.source, slot.propensity, slot.features, slot.position) == ("pin", 1.0, [], 2)
    assert all(
        len(slot.features) == len(FEATURE_NAMES) for slot in found.slots if slot.item_id != "x33"
    )
    assert "x33" not in {slot.item_id for slot in found.considered}
    without_model = _one(_state(), NOTHING, _ask(), _book(_pin("x33", 2)))
    assert (_items(without_model)[1], without_model.slots[1].source) == ("x33", "pin")
    assert len(set(_items(without_model))) == 5


@pytest.mark.parametrize(
    ("rules", "fields"),
    [
        ("[[block]]\nitems = ['x33']", {}),
        ("[[block]]\ncategories = ['Home']", {}),
        ("[[require]]\nprice_to = 5", {}),
        ("", {"exclude_item_ids": ["x33"]}),
        ("", {"filters": {"price_to": 5}}),
        ("", {"candidate_item_ids": ["a", "x01", "x02"]}),
    ],
)
def test_what_rules_an_item_out_goes_before_its_pin(
    engine: Engine, rules: str, fields: dict[str, object]
) -> None:
    for by in (engine, NOTHING):
        found = _one(_state(), by, _ask(**fields), _book(_pin("x33", 1) + rules))
        assert "x33" not in _items(found)
        assert "pin" not in {slot.source for slot in found.slots}


def test_a_substitute_stands_in_for_a_pinned_item_while_it_is_sold_out(engine: Engine) -> None:
    state, book = _state(), _book(_pin("x33", 1))
    state.put_item("x34", "Item x34", 1.0, NOW_MS, stock=0, substitute_of=["x33"])
    state.put_item("x35", "Item x35", 1.0, NOW_MS, substitute_of=["x33", "not yet"])
    assert _items(_one(state, engine, _ask(), book))[0] == "x33"
    state.put_item("x33", "Item x33", 1.0, NOW_MS, stock=0)
    found = _one(state, engine, _ask(), book)
    assert (found.slots[0].item_id, found.slots[0].source) == ("x35", "pin")


def test_boosts_and_buries_move_items_by_their_odds_and_leave_scores(engine: Engine) -> None:
    plain = _one(_state(), engine, _ask(k=44))
    book = _book("[[boost]]\nfactor = 900\nitems = ['x30']\n[[bury]]\nfactor = 900\nitems = ['a']")
    found = _one(_state(), engine, _ask(k=40), book)
    assert _items(found)[0] == "x30"
    assert _items(found).index("a") > _items(plain).index("a")
    scores = {slot.item_id: slot.score for slot in plain.slots}
    for slot in found.slots:
        assert slot.score == scores[slot.item_id]
    without_model = _items(_one(_state(), NOTHING, _ask(k=44), book))
    assert without_model[0] == "x30"
    assert _items(_one(_state(), NOTHING, _ask(k=44)))[0] == "a" != without_model[1]


def test_a_category_takes_at_most_so_many_places_of_a_list(engine: Engine) -> None:
    state, catalogue = _state(), _state().catalogue
    for depth, heads in ((None, 1.0), (1, 0.0)):
        text = "[[at_most]]\ncount = 2\n" + (f"depth = {depth}" if depth else "")
        for by in (engine, NOTHING):
            found = _items(_one(state, by, _ask(k=7), _book(text)))
            names = [catalogue.categories[catalogue.category[catalogue.row_of[i]]] for i in found]
            assert names.count("Garden") <= 2
            home = sum(name.startswith("Home") for name in names)
            assert home <= (4 if heads else 2)


def test_rules_hold_on_their_surfaces_between_their_times(engine: Engine) -> None:
    text = """
    [[block]]
    items = ["a"]
    surfaces = ["home"]
    from = 2011-03-13T00:00:00Z
    until = 2011-03-14T00:00:00Z
    """
    state, book, begins_ms = _state(), _book(text), 1_299_974_400_000
    for at_ms, barred in ((begins_ms - 1, False), (begins_ms, True), (begins_ms + DAY_MS, False)):
        found = _one(state, engine, _ask(as_of_ms=at_ms, k=40), book)
        assert ("a" not in _items(found)) == barred
    similar = SimilarRequest(request_id="s", visitor_id="v", item_id="b", as_of_ms=begins_ms, k=40)
    assert "a" in _items(_one(state, engine, similar, book))


def test_diversity_of_the_request_goes_before_that_of_the_rules(engine: Engine) -> None:
    state, book = _state(), _book("[[diversity]]\nvalue = 0.6")
    plain = _items(_one(state, engine, _ask(k=10)))
    by_rule = _items(_one(state, engine, _ask(k=10), book))
    by_request = _items(_one(state, engine, _ask(k=10, diversity=0.6), RuleBook()))
    assert by_rule == by_request != plain
    assert by_rule[0] == plain[0]
    assert _items(_one(state, engine, _ask(k=10, diversity=1.0), book)) != by_rule


def test_exposure_keeps_an_item_within_its_share_of_what_is_shown(engine: Engine) -> None:
    text = "[[exposure]]\nitems = ['a']\nshare = 0.05\nwindow = 50\n"
    state, book, shown = _state(), _book(text), Counter[str]()
    for number in range(200):
        shown.update(_items(_one(state, engine, _ask(request_id=f"q{number}"), book)))
    assert 0.03 * 1_000 < shown["a"] <= 0.05 * 1_000
    again = _book(text)
    lists = [_items(_one(state, engine, _ask(request_id=f"q{n}"), again)) for n in range(200)]
    assert Counter(item for each in lists for item in each) == shown


def test_every_item_or_a_category_may_have_so_many_impressions_an_hour(engine: Engine) -> None:
    text = """
    [[exposure]]
    each_item = true
    per_hour = 3
    [[exposure]]
    categories = ["Garden"]
    per_hour = 7
    """
    state, book, shown = _state(), _book(text), Counter[str]()
    for number in range(12):
        request = _ask(request_id=f"q{number}", as_of_ms=NOW_MS - NOW_MS % 3_600_000 + number)
        shown.update(_items(_one(state, engine, request, book)))
    assert max(shown.values()) == 3
    garden = {item for number, item in enumerate([*MORE, *ITEMS]) if number % 4 == 2}
    assert sum(count for item, count in shown.items() if item in garden) <= 7


def test_items_over_their_limit_come_behind_and_are_shown_where_there_is_no_other(
    engine: Engine,
) -> None:
    text = "[[exposure]]\nitems = ['a', 'x01']\nper_hour = 1\neach_item = true"
    state, book = _state(), _book(text)
    request = _ask(candidate_item_ids=["a", "x01", "x02"])
    first, second = (_items(_one(state, engine, request, book)) for _ in range(2))
    assert sorted(first) == ["a", "x01", "x02"]
    assert second == ["x02", *(item for item in first if item != "x02")]


def test_a_shadow_limits_no_exposure_and_obeys_filters_and_rules(engine: Engine) -> None:
    text = _pin("x33", 1) + "[[block]]\nitems = ['a']\n[[exposure]]\nitems = ['b']\nshare = 0.01"
    state = _state()
    request = _ask(k=8, filters=Filters(price_from=3), diversity=0.3)
    served = _one(state, engine, request, _book(text))
    logged = [msgspec.json.decode(encode(served), type=ServedAnswer)]
    for derived in derive(state, engine, logged, "shadow", _book(text, limits=False)):
        prices = [state.catalogue.price[state.catalogue.row_of[item]] for item in _items(derived)]
        assert min(prices) >= 3
        assert "a" not in _items(derived)
    assert (_items(derived)[0], derived.policy) == ("x33", "control")


def test_accessories_of_the_session_and_substitutes_of_what_is_gone_are_candidates(
    engine: Engine,
) -> None:
    state = _state()
    state.put_item("new1", "Lid", 1.0, NOW_MS, compatible_with=["x06", "unknown"])
    state.put_item("new2", "Jar", 1.0, NOW_MS, substitute_of=["x01"])
    state.put_item("x01", "Item x01", 1.0, NOW_MS, stock=0)
    assert "x01" in state.history("v0", 50)
    state.apply("v0", "view_item", ["x06"], NOW_MS)
    found = _one(state, engine, _ask(visitor_id="v0", k=48), RuleBook())
    sources = {slot.item_id: slot.source for slot in found.slots}
    assert sources["new1"] == "relations"
    assert sources["new2"] == "relations"
    assert "x01" not in sources
    similar = SimilarRequest(request_id="s", visitor_id="v9", item_id="x06", k=60)
    found = _one(state, engine, similar, RuleBook())
    assert "relations" in {slot.source for slot in found.slots if slot.item_id == "new1"}


def test_an_exploring_answer_draws_the_last_place_that_is_not_pinned(engine: Engine) -> None:
    book = _book(_pin("x33", 5) + "[[at_most]]\ncount = 2\n")
    request_id = next(f"r{n}" for n in range(100) if is_explored(f"r{n}", 5_000))
    found = _one(_state(), engine, _ask(request_id=request_id), book, 5_000)
    assert found.arm == "explore"
    assert _items(found)[4] == "x33"
    assert [slot.propensity < 1 for slot in found.slots] == [False, False, False, True, False]


def test_an_item_over_its_limit_is_not_drawn_while_there_are_others(engine: Engine) -> None:
    state, book = _state(), _book("[[exposure]]\neach_item = true\nper_hour = 1")
    given = MORE[:12]
    drawn = set()
    for number in range(4):
        request = _ask(request_id=f"q{number}", k=3, candidate_item_ids=given)
        found = _one(state, engine, request, book, 10_000)
        assert not drawn & set(_items(found))
        drawn |= set(_items(found))
    assert drawn == set(given)


def test_the_exploration_slice_is_as_wide_as_it_is_set() -> None:
    names = [f"r{number}" for number in range(2_000)]
    assert not any(is_explored(name, 0) for name in names)
    assert all(is_explored(name, 10_000) for name in names)
    assert 450 < sum(is_explored(name, 2_500) for name in names) < 550


def test_inverse_propensities_estimate_without_bias_whatever_reorders_the_list(
    engine: Engine,
) -> None:
    """Items have made-up values; what one list would earn in the drawn place is known exactly.

    A limit of exposure changes the rest of the list as time goes on: what is drawn is judged
    given that rest, as the policy draws it.
    """
    text = _pin("x33", 3) + """
    [[boost]]
    factor = 4
    categories = ["Garden"]
    [[at_most]]
    count = 2
    [[exposure]]
    items = ["a", "b"]
    share = 0.05
    [[diversity]]
    value = 0.4
    """  # fmt: skip
    state, book = _state(), _book(text)
    drawn_by_rest: dict[tuple[str, ...], Counter[tuple[str, float]]] = {}
    for number in range(1_600):
        found = _one(state, engine, _ask(request_id=f"q{number}", k=6), book, 10_000)
        (drawn,) = [slot for slot in found.slots if slot.propensity < 1]
        rest = tuple(item for item in _items(found) if item != drawn.item_id)
        drawn_by_rest.setdefault(rest, Counter())[drawn.item_id, drawn.propensity] += 1
    assert len(drawn_by_rest) > 1
    for counts in drawn_by_rest.values():
        n = counts.total()
        if n < 400:
            continue
        (propensity,) = {chance for _, chance in counts}
        assert len(counts) == round(1 / propensity)
        # The estimate for the policy that always shows one item is free of bias for each of them,
        # hence for every policy over them.
        for count in counts.values():
            estimate = count / propensity / n
            assert abs(estimate - 1) < 4.0 * np.sqrt((1 / propensity - 1) / n)


def test_surfaces_that_callers_make_up_are_not_kept_without_end() -> None:
    state, book = _state(), _book("[[block]]\nitems = ['x01']")
    for number in range(10 * KEPT_SURFACES):
        assert "x01" not in _items(_one(state, NOTHING, _ask(surface=f"s{number}"), book))
    assert len(book._in_force) <= KEPT_SURFACES
