"""The token bucket: never more than burst and rate allow, never less, in bounded memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.rate_limit import Buckets, Limit, headers_of

LIMITS = st.builds(Limit, st.floats(0.1, 100), st.integers(1, 50))
PAUSES = st.lists(st.tuples(st.floats(0, 3), st.integers(1, 5)), min_size=1, max_size=60)


@given(LIMITS, PAUSES)
def test_no_span_holds_more_than_the_burst_and_what_was_earned_in_it(
    limit: Limit, steps: list[tuple[float, int]]
) -> None:
    buckets, now_s, granted = Buckets(), 1_000.0, []
    for pause_s, cost in steps:
        now_s += pause_s
        if buckets.take("a", limit, now_s, cost).granted:
            granted.append((now_s, cost))
    # A cost beyond the burst is paid back after: the last one of a span may lie above it.
    for first in range(len(granted)):
        for last in range(first, len(granted)):
            span_s = granted[last][0] - granted[first][0]
            spent = sum(cost for _, cost in granted[first:last])
            needed = min(granted[last][1], limit.burst)
            assert spent + needed <= limit.burst + limit.rate * span_s + 1e-6


@given(LIMITS, PAUSES)
def test_who_waits_as_told_is_granted_and_not_a_moment_sooner(
    limit: Limit, steps: list[tuple[float, int]]
) -> None:
    buckets, now_s = Buckets(), 0.0
    for pause_s, cost in steps:
        now_s += pause_s
        taken = buckets.take("a", limit, now_s, cost)
        if not taken.granted:
            assert taken.retry_in_s > 0
            assert not buckets.take("a", limit, now_s + taken.retry_in_s * 0.9, cost).granted
            now_s += taken.retry_in_s + 1e-6
            assert buckets.take("a", limit, now_s, cost).granted


@given(LIMITS)
def test_a_rested_caller_may_send_the_burst_and_one_refused_costs_nothing(limit: Limit) -> None:
    buckets = Buckets()
    left = [buckets.take("a", limit, 5.0) for _ in range(limit.burst)]
    assert all(each.granted for each in left)
    assert [each.left for each in left] == list(range(limit.burst - 1, -1, -1))
    refused = [buckets.take("a", limit, 5.0) for _ in range(3)]
    assert not any(each.granted for each in refused)
    assert len({each.retry_in_s for each in refused}) == 1


def test_callers_do_not_share_a_bucket_and_memory_is_bounded() -> None:
    buckets, limit = Buckets(most=100), Limit(1.0, 1)
    assert all(buckets.take(f"c{number}", limit, 0.0).granted for number in range(1_000))
    assert len(buckets) == 100
    assert not buckets.take("c999", limit, 0.0).granted


def test_headers_say_when_to_come_again() -> None:
    buckets, limit = Buckets(), Limit(0.25, 1)
    assert "Retry-After" not in dict(headers_of(limit, buckets.take("a", limit, 0.0)))
    found = dict(headers_of(limit, buckets.take("a", limit, 1.0)))
    assert found["Retry-After"] == "3"
    assert found["RateLimit"] == '"key";r=0;t=3'
