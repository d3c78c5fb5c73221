"""What an answer picks without going through the catalogue equals what going through it finds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.likely import likely_rows, log_probs_of
from core.popularity import DAY_MS, DayPopularity
from core.recent_baskets import RecentBaskets
from core.sequence import SequenceScores, SequenceVocabulary
from core.shop_state import ShopState
from core.top import top_allowed

NOW = 10 * DAY_MS
SEEDS = st.integers(0, 2**32 - 1)


def _state(items: int) -> ShopState:
    state = ShopState()
    for number in range(items):
        state.put_item(f"i{number}", "", None, NOW)
    return state


@given(seed=SEEDS, items=st.integers(1, 3_000), n=st.integers(1, 60), share=st.floats(0, 1))
def test_likely_rows_are_the_head_of_all_allowed_rows(
    seed: int, items: int, n: int, share: float
) -> None:
    random, state = np.random.default_rng(seed), _state(items)
    names = [f"i{number}" for number in range(items + items // 5)]  # some are unheard of
    random.shuffle(names)
    vocabulary = SequenceVocabulary(names[: max(len(names) * 4 // 5, 1)])  # some are unknown
    steps = int(random.integers(2, 4 * items + 3))  # few steps make many ties
    values = -random.integers(1, steps, len(vocabulary)).astype(np.float32) / 7
    said = SequenceScores(values, vocabulary)
    allowed = random.random(items) <= share
    by_row = log_probs_of(state, said, np.arange(items))
    lifted = np.where(allowed, by_row + np.float32(1_000), np.float32(0))
    order = [int(row) for row in np.argsort(-lifted, kind="stable") if lifted[row] > 0]
    for barred in (0, 50):
        assert likely_rows(state, said, allowed, n, barred).tolist() == order[:n]


@given(seed=SEEDS, n=st.integers(1, 50), share=st.floats(0, 1))
def test_most_wanted_rows_are_the_head_of_the_allowed_order(
    seed: int, n: int, share: float
) -> None:
    random, counts = np.random.default_rng(seed), DayPopularity(1_000)
    for _ in range(20):
        rows = np.unique(random.integers(0, 800, 30) ** 2 // 800)
        counts.add(rows, 1.0, int(random.integers(0, 9)) * DAY_MS)
    allowed = random.random(900) <= share
    order = counts.ranked(9 * DAY_MS, 7)
    for wanted in (n, 2 * n, 1):
        found = counts.most_wanted(9 * DAY_MS, 7, wanted, allowed)
        assert found.tolist() == order[allowed[order]][:wanted].tolist()


@given(seed=SEEDS)
def test_baskets_say_of_some_rows_what_they_say_of_all(seed: int) -> None:
    random, recent = np.random.default_rng(seed), RecentBaskets()
    for number in range(int(random.integers(0, 40))):
        rows = random.choice(60, int(random.integers(1, 9)), replace=False)
        recent.add(f"v{number % 7}", rows)
    own = random.choice(60, int(random.integers(0, 20)), replace=False)
    said = random.random(len(own)).astype(np.float32)
    wanted = np.zeros(60, np.float32)
    wanted[own] = said
    everything = _by_definition(recent, "v3", wanted)
    assert recent.scores("v3", wanted).tolist() == pytest.approx(everything, abs=1e-6)
    rows = random.choice(60, 10, replace=False)
    assert (
        recent.scores_of("v3", own, said, rows).tolist()
        == recent.scores("v3", wanted)[rows].tolist()
    )


def _by_definition(recent: RecentBaskets, owner: str, wanted: np.ndarray) -> list[float]:
    alike = [
        0.0 if name == owner else float(wanted[rows].sum()) / (len(rows) + 3.0) ** 0.5
        for name, rows in recent.baskets
    ]
    top = max(alike, default=0.0)
    found = np.zeros(len(wanted))
    if top > 0:
        for share, (_, rows) in zip(alike, recent.baskets, strict=True):
            found[rows] += share / top
    return found.tolist()


def test_values_by_slot_are_those_by_row() -> None:
    random, state = np.random.default_rng(2), ShopState(max_cooccurrence_items=40)
    for number in range(200):
        items = [f"i{i}" for i in random.choice(60, 5, replace=False)]
        state.apply(f"v{number % 20}", "purchase", items, NOW + number)
    rows, weights = np.arange(5), np.ones(5, np.float32)
    by_slot, everything = state.related_by_slot(rows, weights), np.arange(len(state.catalogue))
    assert np.array_equal(
        state.from_slots(by_slot, everything), state.cooccurrence_scores(rows, weights)
    )
    assert (state.slot_of[: len(everything)] < 0).any()
    for wanted in (everything, everything[::3], everything[:0]):
        found = state.related_of(rows, weights, wanted)
        assert found.tolist() == pytest.approx(state.from_slots(by_slot, wanted).tolist(), rel=1e-5)


@given(seed=SEEDS, size=st.integers(0, 2_000), n=st.integers(1, 60), share=st.floats(0, 1))
def test_top_allowed_rows_are_the_head_of_the_allowed_order(
    seed: int, size: int, n: int, share: float
) -> None:
    random = np.random.default_rng(seed)
    values = (random.integers(0, max(size // 3, 2), size) / 8).astype(np.float32)
    names, allowed = random.permutation(size), random.random(size) <= share
    order = sorted(
        (place for place in range(size) if allowed[names[place]] and values[place] > 0),
        key=lambda place: (-values[place], names[place]),
    )
    found = top_allowed(values, n, names, allowed)
    assert found.tolist() == [int(names[place]) for place in order[:n]]


def test_rows_of_a_vocabulary_follow_the_catalogue_as_it_grows() -> None:
    state, vocabulary = _state(2), SequenceVocabulary(["i1", "i2", "i0"])
    assert state.vocabulary_rows(vocabulary).tolist() == [1, -1, 0]
    state.put_item("i2", "", None, NOW)
    assert state.vocabulary_rows(vocabulary).tolist() == [1, 2, 0]
