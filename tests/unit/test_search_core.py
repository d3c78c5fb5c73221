"""What decides a search's order: columns as the trainer made them, the pair budget, the blend."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.pair_budget import MOST_AT_ONCE, PairCost, next_pairs
from core.query_text import STOP_WORDS, edits, plain_text, words
from core.search_blend import BlendWeights, linear_blend
from core.search_columns import Bm25Form, TermCounts, word_columns
from core.search_order import finite, least_for_unread, order
from trainer.corpus.examples import Example
from trainer.search.judged import judged
from trainer.search.lexical import Bm25Settings, stems, words_of
from trainer.search.model import SearchCard, lexical_scores

BLEND = BlendWeights(
    columns=("bm25", "cross"), weights=(1.0, 2.0), centres=(0.5, 0.1), scales=(1.0, 2.0)
)
FORMS = {
    "title": Bm25Form(k1=0.8, b=0.25, body_copies=0),
    "product": Bm25Form(k1=1.2, b=0.75),
    "title_thrice": Bm25Form(k1=2.0, b=0.5, title_copies=3),
}


def test_columns_are_those_that_the_blend_was_fitted_on() -> None:
    products = [
        "Red heart cups\nA fine cup, in red and in the shape of a heart",
        "Blue cup\nHolds tea",
        "Heart shaped lamp\n",
        "Running shoes for men\nRun, runner, running. Red.",
    ]
    queries = ["red cups", "the running heart heart", "of unheard"]
    rows = judged(
        [
            Example(example_id=f"{q}-{p}", text=query, pair=product, value=1.0)
            for q, query in enumerate(queries)
            for p, product in enumerate(products)
        ]
    )
    settings = {
        name: Bm25Settings(
            k1=form.k1, b=form.b, title_copies=form.title_copies, body_copies=form.body_copies
        )
        for name, form in FORMS.items()
    }
    card = SearchCard(
        bm25=settings, best_bm25="title", query_length=8, product_length=8, pair_length=16
    )
    expected = lexical_scores(rows, words_of(rows), card)

    numbers: dict[str, int] = {}
    items = [
        tuple(
            [numbers.setdefault(stem, len(numbers)) for stem in stems([text])[0]]
            for text in (title, body)
        )
        for title, body in zip(rows.titles, rows.bodies, strict=True)
    ]
    counts = TermCounts()
    for title, body in items:
        counts.add(title, body)
    for at, query in zip(rows.by_query(), rows.queries, strict=True):
        asked = [numbers.get(stem, -1 - place) for place, stem in enumerate(stems([query])[0])]
        found = word_columns(asked, [items[row] for row in at], counts, FORMS)
        assert set(found) == set(expected)
        for name, column in found.items():
            assert column == pytest.approx(expected[name][at], rel=1e-5), name


@given(st.lists(st.tuples(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5))), max_size=6))
def test_counts_after_items_have_gone_are_as_if_they_had_never_come(
    items: list[tuple[list[int], list[int]]],
) -> None:
    kept, whole = TermCounts(), TermCounts()
    for place, (title, body) in enumerate(items):
        whole.add(title, body)
        if place % 2:
            kept.add(title, body)
    for title, body in items[::2]:
        whole.remove(title, body)
    assert (whole.items, whole.title_terms) == (kept.items, kept.title_terms)
    assert +whole.in_either == +kept.in_either


@given(st.floats(0.01, 100), st.floats(-100, 1_000), st.integers(0, 200))
def test_pairs_that_are_run_fit_into_the_time_left(
    pair_ms: float, left_ms: float, waiting: int
) -> None:
    pairs = next_pairs(PairCost(pair_ms), left_ms, waiting)
    assert 0 <= pairs <= min(waiting, MOST_AT_ONCE)
    assert pairs * pair_ms <= max(left_ms, 0.0) + 1e-6


@given(st.floats(0.1, 50), st.lists(st.floats(0.1, 50), min_size=200, max_size=200))
def test_the_estimate_stays_between_what_was_seen_and_follows_it(
    first: float, seen: list[float]
) -> None:
    cost = PairCost(first)
    for pair_ms in seen:
        cost = cost.after(4, 4 * pair_ms)
    assert min(first, *seen) - 1e-3 <= cost.pair_ms <= max(first, *seen) + 1e-3
    for _ in range(100):
        cost = cost.after(4, 8.0)
    assert cost.pair_ms == pytest.approx(2.0, abs=0.01)


scores_of = arrays(np.float64, (6, 2), elements=st.floats(-5, 5))


@given(scores_of, st.sets(st.integers(0, 5), max_size=5))
def test_what_the_cross_encoder_did_not_read_never_overtakes_what_it_read(
    scores: np.ndarray, unread: set[int]
) -> None:
    scores = scores[np.argsort(-scores[:, 0])]  # read from the top of the first order
    split = 6 - len(unread)
    scores[split:, 1] = np.nan
    filled = least_for_unread(scores, 1, BLEND)
    blended = linear_blend(filled, BLEND)
    if 0 < split < 6:
        assert blended[:split].max() >= blended[split:].max() - 1e-9
        worst = scores[:split, 1].argmin()
        assert blended[worst] >= blended[split:].max() - 1e-9
    assert np.isfinite(finite(filled, BLEND)).all()


@given(scores_of, st.sets(st.sampled_from("abcdef")))
def test_exact_ones_lead_and_scores_fall(scores: np.ndarray, exact: set[str]) -> None:
    found = order(list("abcdef"), scores, BLEND, frozenset(exact))
    assert sorted(place for place, _ in found) == list(range(6))
    assert {"abcdef"[place] for place, _ in found[: len(exact)]} == exact
    values = [value for _, value in found]
    assert values == sorted(values, reverse=True)


@given(st.text(max_size=60))
def test_words_of_any_text_are_words(text: str) -> None:
    plain = plain_text(text)
    assert plain == " ".join(plain.split())
    assert all(word and not word.isspace() for word in words(plain))


def test_stop_words_are_those_of_the_trainers_bm25() -> None:
    from bm25s.stopwords import STOPWORDS_EN

    assert frozenset(STOPWORDS_EN) == STOP_WORDS
    assert words("Mugs and cups of 2l") == ["mugs", "cups", "2l"]


@given(st.text("abc", max_size=8), st.text("abc", max_size=8), st.integers(0, 3))
def test_edits_are_symmetric_and_bounded(one: str, other: str, most: int) -> None:
    found = edits(one, other, most)
    assert found == edits(other, one, most)
    assert found <= most + 1
    assert (found == 0) == (one == other)
