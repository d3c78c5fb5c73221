"""Intervals hold what they promise, however often they are looked at."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.intervals import (
    chi_square_tail,
    cluster_bootstrap,
    confidence_sequence,
    mean_interval,
    msprt,
    sample_ratio_mismatch,
    split_sample_size,
    wilson,
)


@given(n=st.integers(1, 10_000), share=st.floats(0, 1))
def test_wilson_bounds_hold_the_rate_and_stay_in_the_unit_interval(n: int, share: float) -> None:
    successes = round(n * share)
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n + 1e-12
    assert successes / n - 1e-12 <= high <= 1


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=50))
def test_mean_interval_is_the_textbook_one(values: list[float]) -> None:
    squares = sum(v * v for v in values)
    mean, low, high = mean_interval(sum(values), squares, len(values))
    half = 1.959964 * np.std(values, ddof=1) / math.sqrt(len(values))
    assert mean == pytest.approx(np.mean(values), abs=1e-6)
    assert high - low == pytest.approx(2 * half, abs=1e-3)


def test_confidence_sequence_looked_at_after_every_pair_covers_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    differences = random.choice([-1.0, 0.0, 1.0], p=[0.1, 0.8, 0.1], size=(300, 1_500))
    totals, squares = differences.cumsum(axis=1), (differences**2).cumsum(axis=1)
    missed = 0
    for stream in range(len(differences)):
        looks = (
            confidence_sequence(totals[stream, n - 1], squares[stream, n - 1], n)
            for n in range(50, 1_501, 10)
        )
        missed += any(low > 0 or high < 0 for low, high in looks)
    assert missed / len(differences) <= 0.05


def test_a_z_test_looked_at_as_often_would_be_wrong_far_more_often() -> None:
    random = np.random.default_rng(4)
    draws = random.normal(size=(300, 1_500)).cumsum(axis=1)
    looks = np.arange(10, 1_501, 15)
    naive = (np.abs(draws[:, looks - 1]) / np.sqrt(looks) > 1.96).any(axis=1).mean()
    always = np.mean(
        [any(msprt(row[n - 1], int(n), 1.0, 0.01) < 0.05 for n in looks) for row in draws]
    )
    assert naive > 0.25
    assert always <= 0.05


def test_confidence_sequence_says_nothing_below_ten_values() -> None:
    assert confidence_sequence(9.0, 9.0, 9) == (-math.inf, math.inf)


@given(statistic=st.floats(0.01, 60), freedom=st.integers(1, 12))
def test_chi_square_tail_agrees_with_scipy(statistic: float, freedom: int) -> None:
    assert chi_square_tail(statistic, freedom) == pytest.approx(
        stats.chi2.sf(statistic, freedom), rel=1e-6, abs=1e-12
    )


def test_an_even_split_is_no_mismatch_and_a_lost_tenth_is() -> None:
    assert sample_ratio_mismatch([1_010, 990], [0.5, 0.5]) > 0.1
    assert sample_ratio_mismatch([10_000, 9_000], [0.5, 0.5]) < 1e-6


def test_bootstrap_by_customer_is_wider_than_by_row_when_a_customer_repeats() -> None:
    random = np.random.default_rng(5)
    per_customer = random.normal(size=40)
    values = np.repeat(per_customer, 10)
    customers = [str(i // 10) for i in range(400)]
    rows = [str(i) for i in range(400)]
    _, low, high = cluster_bootstrap(values, customers, np.random.default_rng(1))
    _, row_low, row_high = cluster_bootstrap(values, rows, np.random.default_rng(1))
    assert high - low > 2 * (row_high - row_low)


def test_a_smaller_margin_needs_more_requests() -> None:
    assert split_sample_size(0.3, 0.02) > 6 * split_sample_size(0.3, 0.05)
