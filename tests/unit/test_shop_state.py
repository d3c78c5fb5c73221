"""The live state: histories, popularity windows, co-occurrence and its round trip."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.candidates import Ask, gather
from core.popularity import DAY_MS
from core.sequence import SequenceVocabulary
from core.shop_state import ShopState

_ITEMS = [f"i{n}" for n in range(8)]
_PURCHASES = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "cy"]),
        st.lists(st.sampled_from(_ITEMS), min_size=1, max_size=5),
        st.integers(min_value=0, max_value=40 * DAY_MS),
    ),
    max_size=25,
)


def _state(purchases: list[tuple[str, list[str], int]], room: int = 64) -> ShopState:
    state = ShopState(max_cooccurrence_items=room)
    for visitor, items, at_ms in purchases:
        state.apply(visitor, "purchase", items, at_ms)
    return state


def _gram_by_item(state: ShopState) -> dict[tuple[str, str], float]:
    names = [state.catalogue.item_ids[row] for row in state.row_of_slot[: state.cooccurrence.size]]
    return {
        (a, b): float(state.cooccurrence.gram[i, j])
        for i, a in enumerate(names)
        for j, b in enumerate(names)
    }


def test_history_is_newest_last_and_a_repeat_within_a_basket_counts_once() -> None:
    state = _state([("ann", ["i1", "i2", "i1"], 1), ("ann", ["i3"], 2)])
    assert state.history("ann") == ["i1", "i2", "i3"]
    assert state.history("ann", limit=1) == ["i3"]
    assert state.history("nobody") == []
    assert not state.knows("nobody")


def test_a_refund_changes_no_count_but_moves_the_newest_time() -> None:
    state = _state([("ann", ["i1"], 1)])
    state.apply("ann", "refund", ["i1"], 99)
    assert state.visitors["ann"].counts.tolist() == [1.0]
    assert state.seen_ms == 99


def test_popularity_forgets_what_left_the_window_and_sees_nothing_later() -> None:
    state = _state([("ann", ["i1"], 0), ("bob", ["i2"], 9 * DAY_MS)])
    week = state.popularity.window(9 * DAY_MS, 7)
    assert week[0] == 0.0
    assert week[1] == 1.0
    assert state.popularity.window(8 * DAY_MS, 7)[1] == 0.0


def test_a_cached_window_takes_in_later_purchases_of_its_days() -> None:
    state = _state([("ann", ["i1"], 3 * DAY_MS)])
    assert state.popularity.window(3 * DAY_MS, 7)[0] == 1.0
    state.apply("bob", "purchase", ["i1"], 3 * DAY_MS)
    assert state.popularity.window(3 * DAY_MS, 7)[0] == 2.0


@given(_PURCHASES)
@settings(max_examples=40)
def test_co_occurrence_grown_step_by_step_equals_the_sum_over_visitors(
    purchases: list[tuple[str, list[str], int]],
) -> None:
    state = _state(purchases)
    wanted: dict[tuple[str, str], float] = {}
    for visitor in state.visitors.values():
        names = [state.catalogue.item_ids[row] for row in visitor.rows]
        for a, x in zip(names, visitor.gram_weights, strict=True):
            for b, y in zip(names, visitor.gram_weights, strict=True):
                wanted[a, b] = wanted.get((a, b), 0.0) + float(x * y)
    grown = {pair: value for pair, value in _gram_by_item(state).items() if value}
    assert grown == {pair: value for pair, value in wanted.items() if value}


@given(_PURCHASES, st.integers(0, 1_000))
@settings(max_examples=30)
def test_visitors_applied_in_another_order_give_the_same_co_occurrence(
    purchases: list[tuple[str, list[str], int]], seed: int
) -> None:
    order = np.random.default_rng(seed).permutation(len(purchases))
    shuffled = _state([purchases[i] for i in order])
    assert _gram_by_item(shuffled) == _gram_by_item(_state(purchases))


@given(_PURCHASES)
@settings(max_examples=30)
def test_a_snapshot_goes_on_with_the_very_same_answers(
    purchases: list[tuple[str, list[str], int]],
) -> None:
    state = _state(purchases)
    state.put_item("i1", "RED PLATE", 2.5, 7)
    again = ShopState.from_bytes(state.to_bytes())
    for each in (state, again):
        each.apply("ann", "purchase", ["i1", "i9"], 41 * DAY_MS)
    assert again.to_bytes() == state.to_bytes()
    assert np.array_equal(again.cooccurrence.gram, state.cooccurrence.gram)
    ask = Ask("ann", "home", 41 * DAY_MS)
    ours, theirs = gather(state, ask, None), gather(again, ask, None)
    assert ours.item_ids == theirs.item_ids
    assert np.array_equal(ours.features, theirs.features)


def test_a_full_block_drops_the_items_untouched_for_longest() -> None:
    baskets = [("ann" if n % 2 else "bob", [f"p{n}", f"q{n}"], n * DAY_MS) for n in range(12)]
    state = _state(baskets, room=8)
    admitted = set(state.row_of_slot[: state.cooccurrence.size].tolist())
    assert state.cooccurrence.size <= 8
    assert state.catalogue.row_of["q11"] in admitted
    assert state.catalogue.row_of["p0"] not in admitted


def test_a_vocabulary_item_is_found_as_soon_as_the_catalogue_meets_it() -> None:
    state = _state([("ann", ["i1"], 1)])
    vocabulary = SequenceVocabulary(["i2", "i1"])
    assert state.vocabulary_columns(vocabulary).tolist() == [1]
    state.apply("ann", "purchase", ["i2"], 2)
    assert state.vocabulary_columns(vocabulary).tolist() == [1, 0]
