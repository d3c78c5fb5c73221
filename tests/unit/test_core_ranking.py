"""Candidates, ranking, the baselines and the online ranker."""

import json

import numpy as np
import pytest

from core.baselines import also_bought, own_items, popular_7d
from core.candidates import (
    COOCCURRENCE,
    OWN,
    SEQUENCE,
    Ask,
    gather,
    gather_each,
    ground_of,
)
from core.features import FEATURE_NAMES, POSITION, position_feature
from core.popularity import DAY_MS
from core.ranker import OnlineRanker, bounded
from core.ranker_fit import fit_initial
from core.ranking import RankerWeights, rank, ranked
from core.sequence import SequenceScores, SequenceVocabulary
from core.shop_state import ShopState
from core.top import top_rows

NOW = 10 * DAY_MS


def _shop() -> ShopState:
    state = ShopState()
    for n in range(6):
        state.apply(f"v{n}", "purchase", ["tea", "cup", f"extra{n}"], NOW - (n + 1) * DAY_MS)
    state.apply("ann", "purchase", ["tea", "hat"], NOW - 3 * DAY_MS)
    state.apply("ann", "purchase", ["hat"], NOW - 2 * DAY_MS)
    return state


def _weights(**coef: float) -> RankerWeights:
    values = np.array([coef.get(name, 0.0) for name in FEATURE_NAMES])
    return RankerWeights(FEATURE_NAMES, values, 0.0, "w")


def test_every_source_brings_its_candidates_and_says_so() -> None:
    vocabulary = SequenceVocabulary(["hat", "extra5"])
    scores = SequenceScores(np.log(np.array([0.1, 0.9], np.float32)), vocabulary)
    found = gather(_shop(), Ask("ann", "home", NOW), scores)
    sources = dict(zip(found.item_ids, found.sources.tolist(), strict=True))
    assert sources["hat"] & OWN
    assert sources["cup"] & COOCCURRENCE
    assert sources["extra5"] & SEQUENCE
    assert found.features.shape == (len(found.item_ids), len(FEATURE_NAMES))
    assert np.isfinite(found.features).all()


def test_discover_leaves_out_what_the_visitor_has_bought() -> None:
    found = gather(_shop(), Ask("ann", "discover", NOW), None)
    assert not {"tea", "hat"} & set(found.item_ids)


def test_excluded_and_unavailable_items_are_not_shown() -> None:
    state = _shop()
    state.put_item("cup", "CUP", 1.0, NOW, available=False)
    found = gather(state, Ask("ann", "home", NOW, exclude=frozenset({"hat"})), None)
    assert not {"cup", "hat"} & set(found.item_ids)


def test_a_history_in_the_request_replaces_the_visitors_own() -> None:
    found = gather(_shop(), Ask("ann", "home", NOW, history=("cup", "cup", "unknown")), None)
    own = dict(zip(found.item_ids, (found.sources & OWN).tolist(), strict=True))
    assert own["cup"]
    assert not own.get("hat", 0)


def test_an_unknown_visitor_gets_what_is_popular() -> None:
    found = gather(_shop(), Ask("nobody", "home", NOW), None)
    shown = rank(found, _weights(popularity_7d=1.0), 2)
    assert {slot.item_id for slot in shown} == {"tea", "cup"}


def test_an_empty_shop_answers_with_nothing() -> None:
    found = gather(ShopState(), Ask("ann", "home", NOW), None)
    assert rank(found, _weights(), 10) == []
    assert popular_7d(ground_of(ShopState(), Ask("ann", "home", NOW))) == []


def test_equal_scores_go_by_item_id_whatever_the_order_of_arrival() -> None:
    orders = (["b", "a", "c"], ["c", "b", "a"])
    lists = []
    for items in orders:
        state = ShopState()
        state.apply("v", "purchase", items, NOW)
        found = gather(state, Ask("x", "home", NOW), None)
        lists.append([slot.item_id for slot in rank(found, _weights(own=1.0), 3)])
    assert lists == [["a", "b", "c"], ["a", "b", "c"]]


def test_slots_are_scored_as_if_first_and_log_their_place() -> None:
    found = gather(_shop(), Ask("ann", "home", NOW), None)
    shown = rank(found, _weights(popularity_7d=1.0, position=-5.0), 3)
    assert [slot.position for slot in shown] == [1, 2, 3]
    assert shown[2].features[POSITION] == pytest.approx(position_feature(3))
    assert shown[2].score == pytest.approx(shown[2].features[FEATURE_NAMES.index("popularity_7d")])


def test_considered_candidates_are_those_not_shown() -> None:
    found = gather(_shop(), Ask("ann", "home", NOW), None)
    weights = _weights(popularity_28d=1.0)
    order = ranked(found, weights)
    shown = {slot.item_id for slot in order.best(2)}
    rest = order.considered(2, limit=3)
    assert len(rest) == 3
    assert not shown & {slot.item_id for slot in rest}


def test_exploration_draws_only_the_last_place_and_says_how_likely() -> None:
    found = gather(_shop(), Ask("ann", "home", NOW), None)
    weights = _weights(popularity_28d=1.0)
    slots = ranked(found, weights).explored(3, np.random.default_rng(1))
    assert [s.item_id for s in slots[:2]] == [s.item_id for s in rank(found, weights, 2)]
    assert slots[2].propensity == pytest.approx(1.0 / (len(found.item_ids) - 2))


def test_weights_for_other_features_are_refused() -> None:
    found = gather(_shop(), Ask("ann", "home", NOW), None)
    with pytest.raises(ValueError, match="other features"):
        rank(found, RankerWeights(("x",), np.ones(1), 0.0, "w"), 3)


def test_baselines_list_own_items_by_count_and_neighbours_of_them() -> None:
    state = _shop()
    home = ground_of(state, Ask("ann", "home", NOW, k=3))
    discover = ground_of(state, Ask("ann", "discover", NOW, k=1))
    assert own_items(home) == ["hat", "tea", "cup"]
    assert also_bought(discover) == ["cup"]
    assert popular_7d(discover) == ["cup"]


def _large_shop(seed: int) -> tuple[ShopState, list[SequenceScores | None]]:
    """A shop of 900 items and what two models and no model say; scores have ties."""
    random, state = np.random.default_rng(seed), ShopState()
    names = [f"i{n}" for n in range(900)]
    for n in range(120):
        bought = random.choice(900, size=12, replace=False) ** 2 // 900
        items = list(dict.fromkeys(names[i] for i in bought))
        state.apply(f"v{n % 30}", "purchase", items, NOW - (120 - n) * DAY_MS // 8)
    said: list[SequenceScores | None] = [None]
    for known in (names[::-1], [*names[:500], "never met"]):
        log_probs = -random.integers(1, 40, len(known)).astype(np.float32) / 3
        said.append(SequenceScores(log_probs, SequenceVocabulary(known)))
    return state, said


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("surface", ["home", "discover"])
def test_candidates_of_one_model_are_the_same_alone_or_beside_others(
    seed: int, surface: str
) -> None:
    state, said = _large_shop(seed)
    for visitor in ("v0", "v7", "stranger"):
        ask = Ask(visitor, surface, NOW, exclude=frozenset({"i0", "i3"}))
        for one, together in zip(said, gather_each(ground_of(state, ask), said), strict=True):
            alone = gather(state, ask, one)
            assert alone.item_ids == together.item_ids
            assert alone.features.tobytes() == together.features.tobytes()
            assert alone.sources.tobytes() == together.sources.tobytes()


@pytest.mark.parametrize("size", [0, 3, 50, 900, 901])
@pytest.mark.parametrize("n", [1, 10, 60])
def test_top_rows_are_the_head_of_the_whole_order(size: int, n: int) -> None:
    random = np.random.default_rng(size + n)
    for levels in (2, 30, 10_000):
        values = (random.integers(-levels, levels, size) / 8).astype(np.float32)
        order = [int(row) for row in np.argsort(-values, kind="stable") if values[row] > 0]
        assert top_rows(values, n).tolist() == order[:n]


def test_popularity_order_follows_every_change() -> None:
    state, _ = _large_shop(0)
    for now in (NOW, NOW, NOW + DAY_MS):
        state.apply("v1", "purchase", ["i700", "i2", "new"], now)
        order, window = state.popularity.ranked(now, 7), state.popularity.window(now, 7)
        assert order.tolist() == top_rows(window, len(window)).tolist()


def test_co_occurrence_keeps_its_diagonal_beside_the_matrix() -> None:
    state, _ = _large_shop(1)
    assert np.array_equal(state.cooccurrence.squares, state.cooccurrence.gram.diagonal())


def _rows(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    features = random.normal(size=(n, len(FEATURE_NAMES))).astype(np.float32)
    chance = 1 / (1 + np.exp(-(2.0 * features[:, 0] - 1.0)))
    return features, (random.random(n) < chance).astype(float)


def test_the_first_weights_find_what_made_the_labels() -> None:
    weights = fit_initial(*_rows(4000), version="first")
    assert weights.coef[0] == pytest.approx(2.0, abs=0.3)
    assert np.abs(weights.coef[1:]).max() < 0.3
    assert bounded(weights) is None


def test_a_ranker_learns_and_its_log_loss_is_of_rows_not_yet_learned() -> None:
    features, labels = _rows()
    ranker = OnlineRanker()
    ranker.learn(features[:1], labels[:1])
    assert ranker.progress.log_loss == pytest.approx(np.log(2.0))
    for _ in range(200):
        ranker.learn(features, labels)
    assert ranker.weights("w").coef[0] > 0.2


def test_a_saved_ranker_goes_on_exactly() -> None:
    features, labels = _rows()
    ranker = OnlineRanker.from_weights(fit_initial(features, labels, "first"))
    ranker.learn(features[:30], labels[:30])
    again = OnlineRanker.from_dict(json.loads(json.dumps(ranker.to_dict())))
    for each in (ranker, again):
        each.learn(features[30:60], labels[30:60])
    assert again.to_dict() == ranker.to_dict()


def test_weights_out_of_bounds_or_blind_are_refused_with_a_reason() -> None:
    probe = _rows(5)[0]
    assert "not finite" in str(bounded(_weights(own=float("inf"))))
    assert "above" in str(bounded(_weights(own=1e3)))
    assert "alike" in str(bounded(_weights(), probe))
    assert bounded(_weights(own=1.0), probe) is None
