"""Blending and measuring search results: bounds, and no dependence on the order of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.search_blend import (
    BlendWeights,
    linear_blend,
    places,
    ranked_list,
    reciprocal_rank_fusion,
)
from core.search_metrics import ndcg, recall, reciprocal_rank

# Few distinct scores, so that ties are the rule.
judged = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@given(judged, st.randoms(use_true_random=False), st.integers(1, 12))
def test_measures_are_bounded_and_the_order_of_rows_never_shows(rows, random, k) -> None:
    mixed = random.sample(rows, len(rows))
    for measure in (
        lambda r: ndcg([s for s, _ in r], [g for _, g in r], k),
        lambda r: recall([s for s, _ in r], [g > 1 for _, g in r], k),
        lambda r: reciprocal_rank([s for s, _ in r], [g > 1 for _, g in r]),
    ):
        value, again = measure(rows), measure(mixed)
        if value is None:
            assert again is None
        else:
            assert 0.0 <= value <= 1.0
            assert again == pytest.approx(value)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=20))
def test_the_best_order_has_ndcg_one_and_no_order_is_better_than_it(grades) -> None:
    best = ndcg(grades, grades)
    worst = ndcg([-g for g in grades], grades)
    if best is not None and worst is not None:
        assert best == pytest.approx(1.0)
        assert worst <= best + 1e-12


def test_a_tie_counts_as_the_mean_over_its_orders() -> None:
    first = ndcg([2, 1, 0], [3, 0, 1])
    second = ndcg([1, 2, 0], [3, 0, 1])
    assert first is not None
    assert second is not None
    assert ndcg([1, 1, 0], [3, 0, 1]) == pytest.approx((first + second) / 2)
    assert reciprocal_rank([1, 1, 1], [True, False, False]) == pytest.approx(
        (1 + 1 / 2 + 1 / 3) / 3
    )


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=20),
    st.randoms(use_true_random=False),
)
def test_the_list_is_the_same_however_the_candidates_arrive(rows, random) -> None:
    scores = np.array(rows, dtype=np.float64)
    ids = [f"item-{i:02d}" for i in range(len(rows))]
    order = random.sample(range(len(rows)), len(rows))
    fused, mixed = reciprocal_rank_fusion(scores), reciprocal_rank_fusion(scores[order])
    assert fused[order] == pytest.approx(mixed)
    assert ranked_list(ids, scores[:, 0], 5) == ranked_list(
        [ids[i] for i in order], scores[order, 0], 5
    )


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=20))
def test_places_sum_to_what_distinct_places_would(values) -> None:
    n = len(values)
    assert places(np.array(values, dtype=np.float64)).sum() == pytest.approx(n * (n + 1) / 2)


def test_fusion_is_highest_for_what_every_retriever_puts_first() -> None:
    scores = np.array([[3.0, 0.9], [2.0, np.nan], [1.0, 0.1]])
    fused = reciprocal_rank_fusion(scores)
    assert ranked_list(["a", "b", "c"], fused, 3)[0] == "a"
    assert np.all(fused <= 2 / 61)


def test_a_blend_refuses_scores_of_another_shape() -> None:
    blend = BlendWeights(columns=("bm25",), weights=(1.0,), centres=(0.0,), scales=(1.0,))
    with pytest.raises(ValueError, match="1 columns wanted"):
        linear_blend(np.zeros((3, 2)), blend)
