"""Which days are held out: a week for a successor, four for a version that comes first."""

from shop_factory import DAY_MS, orders

from trainer.recommend.data import Interaction
from trainer.recommend.holdout import (
    ENOUGH_REQUESTS,
    FIRST_REQUESTS,
    MOST_REQUESTS,
    first_holdout,
    holdout,
)


def _days(data: list[Interaction], *, first: bool) -> tuple[float, int]:
    until_ms = data[-1].at_ms
    after_ms, requests = (first_holdout if first else holdout)(data, until_ms, 0)
    assert all(request.asked_ms >= after_ms - 1_000 for request in requests)
    return (until_ms - after_ms) / DAY_MS, len(requests)


def test_a_first_version_is_held_against_four_weeks_and_more_requests() -> None:
    data = orders(days=70, customers=300)
    assert _days(data, first=True) == (28, FIRST_REQUESTS)
    assert _days(data, first=False) == (7, MOST_REQUESTS)


def test_half_of_the_time_stays_before_the_hold_out_of_a_first_version() -> None:
    data = orders(days=40)
    days, requests = _days(data, first=True)
    assert days == 14
    assert requests >= ENOUGH_REQUESTS


def test_a_quiet_or_young_shop_is_held_out_as_a_successor_is() -> None:
    quiet = orders(days=70, customers=10)
    assert _days(quiet, first=True) == _days(quiet, first=False)
    young = orders(days=12)
    assert _days(young, first=True) == _days(young, first=False)


def test_without_data_there_is_nothing_to_ask() -> None:
    assert first_holdout([], 1_300_000_000_000, 0)[1] == []
