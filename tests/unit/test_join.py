"""Attribution, label ages, corrections and retractions of the join."""

import msgspec
from join_factory import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    START_MS,
    WINDOWS,
    answer,
    cart,
    click,
    features,
    purchase,
    refund,
)

from core.join import close, next_due, step
from core.verdict import Verdict, judged_of, outcome_of
from core.visitor_facts import Visitor
from schemas.events import ShopEvent
from schemas.predictions import Context, Prediction

END_MS = START_MS + DAY_MS


def judged(*records: Prediction | ShopEvent, until_ms: int = END_MS) -> list[Verdict]:
    visitor = Visitor()
    for record in records:
        step(visitor, record, WINDOWS, 0)
    return close(visitor, until_ms, WINDOWS).verdicts


def final(verdicts: list[Verdict], name: str = "p1") -> Verdict:
    return next(each for each in verdicts if each.prediction_id == name and each.age == "final")


def test_a_served_answer_is_stated_at_each_age_with_rising_versions() -> None:
    verdicts = judged(answer())
    assert [(v.age, v.version) for v in verdicts] == [("5m", 1), ("1h", 2), ("final", 3)]
    assert [v.closed_at_ms - START_MS for v in verdicts] == [5 * MINUTE_MS, HOUR_MS, DAY_MS]


def test_a_derived_answer_is_stated_once() -> None:
    assert [v.age for v in judged(answer(arm="shadow", policy="popular_7d"))] == ["final"]


def test_slots_are_pending_until_the_window_ends_then_negative() -> None:
    verdicts = judged(answer())
    assert {slot.state for slot in verdicts[0].slots} == {"pending"}
    assert {slot.state for slot in verdicts[-1].slots} == {"expired_negative"}


def test_a_purchase_is_credited_to_the_answer_it_names() -> None:
    older, newer = answer("p1"), answer("p2", START_MS + 1)
    verdicts = judged(
        older, newer, purchase("e", START_MS + HOUR_MS, token="p1"), until_ms=END_MS + 1
    )
    label = final(verdicts, "p1").slots[0]
    assert (label.state, label.kind, label.attributed, label.revenue) == (
        "positive",
        "purchase",
        "token",
        2.0,
    )
    assert final(verdicts, "p2").slots[0].state == "expired_negative"


def test_a_purchase_without_a_token_is_credited_to_the_newest_answer_that_listed_it() -> None:
    records = [answer("p1"), answer("p2", START_MS + 1), answer("p3", START_MS + 2, "xyz")]
    verdicts = judged(*records, purchase("e", START_MS + HOUR_MS), until_ms=END_MS + 2)
    assert final(verdicts, "p2").slots[0].attributed == "window"
    assert final(verdicts, "p1").slots[0].attributed == "none"


def test_an_answer_that_was_not_shown_is_compared_but_never_credited() -> None:
    shadow = answer("s1", arm="shadow", policy="challenger")
    verdict = final(judged(shadow, purchase("e", START_MS + 1, "ax", token="s1")), "s1")
    record = judged_of(shadow, verdict)
    assert (record.labels, record.revenue, record.features) == ([1, 0, 0], 0.0, [])
    assert {slot.kind for slot in outcome_of(shadow, verdict).slots} == {None}


def test_the_basket_is_the_session_when_the_answer_has_one() -> None:
    verdict = final(
        judged(
            answer(session="s1"),
            purchase("e1", START_MS + 1, "ab", session="s1"),
            purchase("e2", START_MS + 2, "cd", session="s2"),
        )
    )
    assert verdict.basket == ["a", "b"]


def test_new_basket_leaves_out_what_was_bought_before_the_answer() -> None:
    before = purchase("e0", START_MS - DAY_MS, "a")
    verdict = final(judged(before, answer(), purchase("e1", START_MS + 1, "ab")))
    assert (verdict.basket, verdict.new_basket) == (["a", "b"], ["b"])


def test_discover_is_labelled_by_what_was_new() -> None:
    before = purchase("e0", START_MS - DAY_MS, "a")
    shown = answer(surface="discover")
    verdict = final(judged(before, shown, purchase("e1", START_MS + 1, "ab")))
    assert judged_of(shown, verdict).labels == [0, 1, 0]


def test_buy_again_is_labelled_by_what_was_not_new() -> None:
    before = purchase("e0", START_MS - DAY_MS, "a")
    shown = answer(surface="buy_again")
    verdict = final(judged(before, shown, purchase("e1", START_MS + 1, "ab")))
    assert judged_of(shown, verdict).labels == [1, 0, 0]


def test_a_click_counts_within_its_own_shorter_window() -> None:
    early, late = click("e1", START_MS + HOUR_MS, "a"), click("e2", START_MS + HOUR_MS + 1, "b")
    slots = final(judged(answer(), early, late)).slots
    assert [slot.kind for slot in slots] == ["select_item", None, None]


def test_the_strongest_interaction_names_the_label() -> None:
    verdict = final(
        judged(
            answer(),
            click("e1", START_MS + 1),
            cart("e2", START_MS + 2),
            purchase("e3", START_MS + 3),
        )
    )
    assert (verdict.slots[0].kind, verdict.clicks, verdict.carts) == ("purchase", 1, 1)


def test_click_before_its_answer_arrives_still_counts() -> None:
    verdict = final(judged(click("e", START_MS - 1_000, token="p1"), answer()))
    assert verdict.slots[0].attributed == "token"


def test_an_event_whose_answer_never_comes_is_an_orphan() -> None:
    visitor = Visitor()
    step(visitor, purchase("e", START_MS, token="gone"), WINDOWS, 0)
    assert close(visitor, START_MS + WINDOWS.skew_ms - 1, WINDOWS).orphans == 0
    assert close(visitor, START_MS + WINDOWS.skew_ms, WINDOWS).orphans == 1


def test_bought_items_that_no_answer_listed_are_counted() -> None:
    visitor = Visitor()
    step(visitor, answer(), WINDOWS, 0)
    output = step(visitor, purchase("e", START_MS + 1, "axy"), WINDOWS, 0)
    assert output.unattributed == 2


def test_a_late_purchase_goes_out_as_a_correction_with_a_higher_version() -> None:
    visitor = Visitor()
    step(visitor, answer(), WINDOWS, 0)
    close(visitor, END_MS, WINDOWS)
    late = step(visitor, purchase("e", END_MS - 1), WINDOWS, END_MS).verdicts
    assert [(v.age, v.version, v.slots[0].state, v.basket) for v in late] == [
        ("correction", 4, "corrected", ["a"])
    ]
    assert step(visitor, purchase("e", END_MS - 1), WINDOWS, END_MS).verdicts == []


def test_a_refund_retracts_the_label_and_empties_the_basket() -> None:
    visitor = Visitor()
    for record in (answer(), purchase("e1", START_MS + 1)):
        step(visitor, record, WINDOWS, 0)
    close(visitor, END_MS, WINDOWS)
    (verdict,) = step(visitor, refund("e2", END_MS + HOUR_MS, "e1"), WINDOWS, END_MS).verdicts
    label = verdict.slots[0]
    assert (label.state, label.revenue, verdict.basket) == ("retracted", 0.0, [])
    assert (verdict.version, verdict.closed_at_ms) == (4, END_MS + HOUR_MS)


def test_a_refund_within_the_window_is_in_the_final_verdict() -> None:
    verdict = final(
        judged(answer(), purchase("e1", START_MS + 1), refund("e2", START_MS + 2, "e1"))
    )
    assert verdict.slots[0].state == "retracted"


def test_a_part_of_an_order_coming_back_retracts_that_part() -> None:
    visitor = Visitor()
    for record in (answer(), purchase("e1", START_MS + 1, "ab")):
        step(visitor, record, WINDOWS, 0)
    close(visitor, END_MS, WINDOWS)
    (verdict,) = step(visitor, refund("e2", END_MS + 1, "e1", "b"), WINDOWS, END_MS).verdicts
    assert [slot.state for slot in verdict.slots] == ["positive", "retracted", "expired_negative"]
    assert verdict.basket == ["a"]


def test_an_answer_from_before_memory_is_counted_late_and_left() -> None:
    visitor = Visitor()
    output = step(visitor, answer(), WINDOWS, START_MS + 3 * DAY_MS)
    assert (output.late, visitor.answers) == (1, {})


def test_everything_but_past_purchases_is_forgotten_in_the_end() -> None:
    visitor = Visitor()
    for record in (answer(), purchase("e1", START_MS + 1), click("e2", START_MS + 2)):
        step(visitor, record, WINDOWS, 0)
    dropped = close(visitor, START_MS + 4 * DAY_MS, WINDOWS).dropped
    assert dropped == ["p1"]
    assert (visitor.orders, visitor.touches, next_due(visitor, WINDOWS)) == ([], {}, None)
    assert visitor.bought == {"a": START_MS + 1}


def test_features_go_out_with_the_final_age_alone() -> None:
    shown = answer()
    early, _, last = judged(shown)
    assert judged_of(shown, early).features == []
    assert judged_of(shown, last).features == [features(1), features(2), features(3)]


def test_a_pinned_item_goes_without_features_and_the_others_with_theirs() -> None:
    shown = answer()
    pinned = msgspec.structs.replace(shown.slots[0], source="pin", features=[])
    ruled = msgspec.structs.replace(shown, slots=[pinned, *shown.slots[1:]])
    assert judged_of(ruled, final(judged(ruled))).features == [[], features(2), features(3)]
    filled = msgspec.structs.replace(pinned, source="fill")
    other = msgspec.structs.replace(shown, slots=[filled, *shown.slots[1:]])
    assert judged_of(other, final(judged(other))).features == []


def test_features_of_another_schema_stay_out() -> None:
    shown = msgspec.structs.replace(answer(), context=Context(feature_schema="other"))
    assert judged_of(shown, final(judged(shown))).features == []
