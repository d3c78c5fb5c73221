"""Admission by expected wait: what is let in can be answered, and nobody is locked out."""

from hypothesis import given
from hypothesis import strategies as st

from core.admission import Limits, Load, Pace, admit

paces = st.floats(1e-4, 10.0).map(Pace)
deadlines = st.floats(0.001, 60.0)


@given(paces, deadlines, st.integers(1, 100))
def test_idle_process_admits_whatever_it_remembers(
    pace: Pace, deadline_s: float, requests: int
) -> None:
    assert admit(Load(0, pace, 0), Limits(), deadline_s, requests) is None


@given(st.integers(1, 1_000), paces, deadlines, st.integers(1, 50))
def test_what_is_admitted_is_expected_in_time_and_has_a_place(
    ahead: int, pace: Pace, deadline_s: float, requests: int
) -> None:
    limits = Limits()
    if admit(Load(ahead, pace), limits, deadline_s, requests) is None:
        assert (ahead + requests) * pace.request_s <= deadline_s * (1 + 1e-9)
        assert ahead + requests <= limits.waiting


@given(st.integers(0, 1_000), st.integers(0, 1_000), paces, deadlines)
def test_who_is_refused_with_fewer_ahead_is_refused_with_more(
    fewer: int, more: int, pace: Pace, deadline_s: float
) -> None:
    fewer, more = sorted((max(fewer, 1), max(more, 1)))
    if admit(Load(fewer, pace), Limits(), deadline_s) is not None:
        assert admit(Load(more, pace), Limits(), deadline_s) is not None


@given(st.integers(1, 1_000), paces, deadlines)
def test_refusal_says_when_to_come_back_within_half_a_minute(
    ahead: int, pace: Pace, deadline_s: float
) -> None:
    refusal = admit(Load(ahead, pace), Limits(), deadline_s)
    if refusal is not None:
        assert 1.0 <= refusal.retry_after_s <= 30.0
        assert refusal.retry_after_s == int(refusal.retry_after_s)


@given(st.integers(1, 400), st.integers(0, 400))
def test_one_caller_never_takes_the_places_of_others(ahead: int, own: int) -> None:
    limits = Limits(waiting=400, share=0.25)
    refusal = admit(Load(max(ahead, own), Pace(1e-4), own), limits, deadline_s=10.0)
    if own >= 100:
        assert refusal is not None
        assert refusal.reason == "over_share"
    elif max(ahead, own) < 400:
        assert refusal is None


@given(st.lists(st.tuples(st.floats(1e-5, 5.0), st.integers(1, 64)), min_size=1, max_size=50))
def test_pace_stays_between_the_slowest_and_the_fastest(passes: list[tuple[float, int]]) -> None:
    pace = Pace()
    for took_s, requests in passes:
        pace = pace.measured(took_s, requests)
    each = [took_s / requests for took_s, requests in passes]
    assert min(each) * (1 - 1e-9) <= pace.request_s <= max(each) * (1 + 1e-9)


def test_pace_follows_a_change_within_some_sixty_requests() -> None:
    pace = Pace(1.0)
    for _ in range(60):
        pace = pace.measured(0.01, 1)
    assert pace.request_s < 0.1
