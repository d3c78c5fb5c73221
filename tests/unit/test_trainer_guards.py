"""What a successor must not take from anybody, and what its data card says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from shop_factory import START_MS, orders, shop_data

from trainer.recommend.card import card_of, leakage_check, leaked
from trainer.recommend.data import Interaction, clean
from trainer.recommend.evaluate import Judged
from trainer.recommend.guards import (
    calibration_error,
    exposure,
    guard_checks,
    sales_before,
    slices,
    tail_of,
)
from trainer.recommend.holdout import HeldOut, held_out, holdout

DATA = shop_data(30)
AFTER_MS, REQUESTS = holdout(DATA.interactions, DATA.until_ms, 7)
SURFACES = ("home", "discover")


def judged(candidates: dict[str, float], log_prob: float = -3.0) -> Judged:
    """The same answer to every request, and the champion's beside it."""
    found = Judged(REQUESTS)
    champions = {"head": 0.0, "tail": 0.0}
    for surface in SURFACES:
        found.shown["candidate", surface] = [candidates for _ in REQUESTS]
        found.shown["champion", surface] = [champions for _ in REQUESTS]
        found.log_prob["candidate", surface] = np.full(len(REQUESTS), log_prob)
        found.log_prob["champion", surface] = np.full(len(REQUESTS), -3.0)
    return found


def failed(found: Judged) -> set[str]:
    checks = guard_checks(DATA, found, AFTER_MS, seed=1)
    return {check.name for check in checks if not check.passed}


def test_a_version_that_answers_as_its_champion_takes_from_nobody() -> None:
    assert failed(judged({"head": 0.0, "tail": 0.0})) == set()


def test_a_loss_for_one_price_band_fails_its_slice_alone() -> None:
    found = judged({"head": 0.0, "tail": 0.0})
    high = slices(DATA, REQUESTS, Counter())["high_prices"]
    found.log_prob["candidate", "discover"][high] -= 1.0
    assert "slice_high_prices" in failed(found)
    assert "slice_low_prices" not in failed(found)


def test_an_answer_that_is_too_sure_of_itself_fails_calibration() -> None:
    assert {"home_calibration", "discover_calibration"} <= failed(judged({"head": 6.0}))


def test_exposure_counts_places_by_their_discount() -> None:
    found = judged({"head": 0.0, "tail": 0.0})
    share = exposure(found, "candidate", "home", frozenset({"tail"}))
    assert round(share, 4) == round(0.63093 / 1.63093, 4)


def test_a_version_that_hides_rarely_sold_items_fails_the_exposure_limit() -> None:
    rare = min(tail_of(sales_before(DATA, AFTER_MS)))
    found = judged({"head": 0.0})
    found.shown["champion", "home"] = [{rare: 0.0} for _ in REQUESTS]
    assert "home_tail_exposure" in failed(found)


def test_calibration_error_is_the_gap_between_said_and_true() -> None:
    found = judged({"nothing": 0.0})
    assert calibration_error(found, "candidate", "home") == 0.5


def test_a_hold_out_never_shares_a_session_with_training() -> None:
    assert leaked(DATA.interactions, REQUESTS, AFTER_MS) == 0
    card = card_of(DATA, REQUESTS, AFTER_MS)
    assert leakage_check(card).passed
    assert card["held_out_requests"] == len(REQUESTS)


def test_a_session_across_the_border_is_not_held_out() -> None:
    border_ms = START_MS + 10_000_000
    early = Interaction(START_MS, "e0", "purchase", "v", ("0001",))
    view = Interaction(border_ms - 1_000, "e1", "view_item", "v", ("0002",))
    bought = Interaction(border_ms + 1_000, "e2", "purchase", "v", ("0002",))
    assert held_out([early, view, bought], border_ms, seed=1) == []
    whole = replace(view, at_ms=border_ms + 500)
    assert len(held_out([early, whole, bought], border_ms, seed=1)) == 1


def test_leakage_is_found_when_there_is_some() -> None:
    request = HeldOut(0, "v", START_MS, (), frozenset(), frozenset({"0001"}))
    bought = Interaction(START_MS, "e", "purchase", "v", ("0001",))
    assert leaked([bought], [request], START_MS) == 1


def test_who_acts_every_second_for_minutes_is_left_out_and_counted() -> None:
    machine = [
        Interaction(START_MS + 1_000 * i, f"b{i}", "view_item", "bot", ("0001",))
        for i in range(400)
    ]
    data = clean([*orders(5), *machine], [], DATA.until_ms, 0)
    assert data.dropped == {"bot": 400}
    assert all(one.visitor_id != "bot" for one in data.interactions)
