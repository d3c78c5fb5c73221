"""The gate's decisions from numbers alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.gate import (
    MINIMUM_REQUESTS,
    Compared,
    above_share,
    at_most,
    not_below,
    not_worse,
    reads_history,
    verdict,
)

N = 200
CUSTOMERS = [f"c{i}" for i in range(N)]


def compared(candidate: float, rival: float, spread: float = 0.1, n: int = N) -> Compared:
    random = np.random.default_rng(3)
    noise = random.normal(0.0, spread, n)
    return Compared(np.full(n, candidate) + noise, np.full(n, rival), CUSTOMERS[:n])


def test_equal_is_not_worse_and_clearly_less_is() -> None:
    assert not_worse("x", compared(0.5, 0.5), seed=1).passed
    assert not not_worse("x", compared(0.3, 0.5), seed=1).passed


def test_clearly_more_is_called_superior() -> None:
    assert not_worse("x", compared(0.7, 0.5), seed=1).detail == "superior"


def test_too_few_requests_pass_nothing() -> None:
    few = compared(0.9, 0.1, n=MINIMUM_REQUESTS - 1)
    assert not not_worse("x", few, seed=1).passed
    assert not above_share("x", few, seed=1).passed
    assert not reads_history("x", few, None, seed=1).passed


def test_requests_that_do_not_count_are_left_out() -> None:
    values = np.full(N, 0.5)
    values[: N // 2] = np.nan
    assert not_worse("x", Compared(values, np.full(N, 0.5), CUSTOMERS), seed=1).n == N // 2


def test_a_version_that_ignores_the_history_is_refused() -> None:
    assert reads_history("x", compared(-6.0, -6.5), None, seed=1).passed
    assert not reads_history("x", compared(-6.0, -6.0, spread=0.001), None, seed=1).passed
    assert not reads_history("x", compared(-6.0, -6.05, spread=0.001), None, seed=1).passed


def test_a_version_that_reads_much_less_than_the_champion_is_refused() -> None:
    champion = compared(-6.0, -6.5)
    assert reads_history("x", compared(-6.0, -6.3), champion, seed=1).passed
    assert not reads_history("x", compared(-6.0, -6.05, spread=0.01), champion, seed=1).passed


def test_the_verdict_names_what_failed_and_nothing_checked_is_no_pass() -> None:
    gate = verdict([at_most("small", 1.0, 2.0), at_most("large", 3.0, 2.0)])
    assert not gate.passed
    assert gate.reason == "failed: large"
    assert verdict([not_below("gain", 1.0, 0.0)]).passed
    assert not verdict([]).passed


@settings(deadline=None, max_examples=20)
@given(st.floats(0.0, 1.0), st.floats(-1.0, 1.0), st.integers(0, 100))
def test_the_interval_holds_the_mean_and_the_seed_alone_decides_it(
    rival: float, shift: float, seed: int
) -> None:
    check = not_worse("x", compared(rival + shift, rival), seed)
    assert check.low <= check.value <= check.high
    assert check == not_worse("x", compared(rival + shift, rival), seed)
