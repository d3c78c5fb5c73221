"""What leaves intake: refused by rule, passed on untouched, or pseudonymous, coarse, scrubbed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.event_rules import PLACEHOLDERS, Limits, check
from core.identities import linked
from core.intake import Remembered
from core.intake_rules import Intake
from core.pseudonyms import parse_pepper
from core.settings import Settings
from schemas.codec import Decoder, encode
from schemas.errors import InvalidEvent
from schemas.events import (
    Consent,
    EventItem,
    EventRecord,
    Formerly,
    ItemSelected,
    ItemViewed,
    PurchaseMade,
    Searched,
    ShopEvent,
)
from schemas.identities import Identity

K1 = "k1:" + "01" * 32
K2 = K1 + "\nk2:" + "02" * 32
DECODE = Decoder(EventRecord)
MUG = EventItem(item_id="mug")


def view(**changes: Any) -> ItemViewed:
    fields: dict[str, Any] = {"event_id": "e", "event_time_ms": 1, "visitor_id": "ann"}
    return ItemViewed(**fields | {"items": [MUG]} | changes)


def purchase(**changes: Any) -> PurchaseMade:
    fields: dict[str, Any] = {"event_id": "e", "event_time_ms": 1, "visitor_id": "ann"}
    return PurchaseMade(**fields | {"items": [MUG], "transaction_id": "t"} | changes)


def reason(event: ShopEvent, limits: Limits, now_ms: int | None = None) -> str:
    with pytest.raises(InvalidEvent) as caught:
        check(event, now_ms, limits)
    return caught.value.reason


def nobody(_: str) -> Identity | None:
    return None


def test_a_click_is_on_one_item() -> None:
    click = ItemSelected(event_id="e", event_time_ms=1, visitor_id="v", items=[MUG, MUG])
    assert reason(click, Limits()) == "items_not_one"


def test_placeholders_are_no_ids() -> None:
    for name in PLACEHOLDERS:
        assert reason(view(visitor_id=name), Limits()) == "placeholder_visitor_id"
        order = purchase(transaction_id=name)
        assert reason(order, Limits()) == "placeholder_transaction_id"


def test_a_foreign_currency_is_refused_where_the_shop_has_one() -> None:
    check(purchase(currency="USD", value=1.0), None, Limits())
    check(purchase(value=1.0), None, Limits(currency="GBP"))
    check(purchase(currency="GBP"), None, Limits(currency="GBP"))
    assert reason(purchase(currency="USD"), Limits(currency="GBP")) == "foreign_currency"


def test_what_is_too_late_is_refused_in_live_time_where_a_horizon_is_set() -> None:
    check(view(event_time_ms=10), 1_000, Limits())
    check(view(event_time_ms=10), None, Limits(behind_ms=100))
    check(view(event_time_ms=900), 1_000, Limits(behind_ms=100))
    assert reason(view(event_time_ms=899), Limits(behind_ms=100), 1_000) == "late"


def test_an_event_that_needs_nothing_keeps_its_very_bytes() -> None:
    value = b'{ "event_name": "view_item", "unknown": 1 }'
    event = view(session_id="s", consent=Consent(training=False))
    clean, kept, identity = Intake(Settings()).admit(event, value, nobody)
    assert clean is event
    assert kept is value
    assert identity is None


def test_address_and_browser_leave_coarse() -> None:
    event = view(ip="192.0.2.7", user_agent="Mozilla/5.0 Gecko/20100101 Firefox/145.0")
    clean, kept, _ = Intake(Settings()).admit(event, encode(event), nobody)
    assert (clean.ip, clean.user_agent) == ("192.0.2.0", "Firefox/145")
    assert DECODE(kept) == clean


def test_a_shop_cannot_claim_another_visitors_history() -> None:
    event = view(formerly=Formerly(visitor_ids=["bob"]))
    clean, kept, identity = Intake(Settings()).admit(event, encode(event), nobody)
    assert clean.formerly is None
    assert b"bob" not in kept
    assert identity is None


def test_ids_leave_as_pseudonyms_and_unknown_fields_stay_behind() -> None:
    intake = Intake(Settings(), parse_pepper(K1))
    event = view(session_id="s1", user_id="u1")
    value = encode(event)[:-1] + b',"phone":"ann"}'
    clean, kept, identity = intake.admit(event, value, nobody)
    assert {name.partition(".")[0] for name in ids(clean)} == {"k1"}
    assert b"ann" not in kept
    assert b"u1" not in kept
    assert identity is not None
    assert (identity.reason, identity.visitor_id) == ("login", clean.visitor_id)
    assert identity.user_id == clean.user_id


def ids(event: ShopEvent) -> list[str]:
    return [str(event.visitor_id), str(event.user_id), str(event.session_id)]


def test_a_new_key_links_once_and_the_event_tells_the_former_names() -> None:
    before, after = Intake(Settings(), parse_pepper(K1)), Intake(Settings(), parse_pepper(K2))
    event = view(session_id="s1", user_id="u1")
    old, _, _ = before.admit(event, encode(event), nobody)
    said: dict[str, Identity] = {}
    new, _, identity = after.admit(event, encode(event), said.get)
    assert identity is not None
    assert identity.reason == "rekeyed"
    assert identity.previous_ids == [old.visitor_id]
    assert new.formerly is not None
    assert new.formerly.visitor_ids == [old.visitor_id]
    assert new.formerly.user_ids == [old.user_id]
    assert new.formerly.session_ids == [old.session_id]
    said[identity.visitor_id] = identity
    again, _, nothing = after.admit(event, encode(event), said.get)
    assert again.formerly is None
    assert nothing is None


def test_a_login_as_somebody_else_is_said_again() -> None:
    first = linked(None, view(user_id="u1"), None)
    assert linked(first, view(), None) is None
    second = linked(first, view(event_id="e2", user_id="u2"), None)
    assert second is not None
    assert (second.reason, second.user_id) == ("login", "u2")


_EVENTS = st.builds(
    Searched,
    event_id=st.just("e"),
    event_time_ms=st.integers(0, 9),
    visitor_id=st.text(min_size=1, max_size=20),
    user_id=st.none() | st.text(min_size=1, max_size=20),
    session_id=st.none() | st.text(min_size=1, max_size=20),
    ip=st.none() | st.just("192.0.2.1") | st.text(max_size=10),
    user_agent=st.none() | st.text(max_size=40),
    query=st.text(max_size=40) | st.just("a@example.com"),
    consent=st.none() | st.builds(Consent, training=st.booleans()),
)


@given(_EVENTS, st.sampled_from([None, K1, K2]))
def test_bytes_and_event_always_agree_and_a_second_pass_finds_nothing_coarse_to_do(
    event: Searched, keys: str | None
) -> None:
    intake = Intake(Settings(), parse_pepper(keys) if keys else None)
    clean, kept, _ = intake.admit(event, encode(event), nobody)
    assert DECODE(kept) == clean
    assert clean.consent == event.consent
    again, same, _ = Intake(Settings()).admit(clean, kept, nobody)
    assert again == (clean if clean.formerly is None else DECODE(same))
    assert (again.ip, again.user_agent) == (clean.ip, clean.user_agent)


def test_a_repeated_id_with_other_content_is_a_conflict() -> None:
    seen = Remembered(1_000, known=[("old", 5)])
    assert seen.is_new(view(), b"one")
    assert not seen.is_new(view(), b"one")
    assert seen.conflicts == 0
    assert not seen.is_new(view(), b"other")
    assert not seen.is_new(view(event_time_ms=2), b"one")
    assert seen.conflicts == 2
    assert not seen.is_new(view(event_id="old", event_time_ms=5), b"any")
    assert seen.conflicts == 2
    assert not seen.is_new(view(event_id="old", event_time_ms=6), b"any")
    assert seen.conflicts == 3


def test_a_transaction_counts_once_per_visitor() -> None:
    seen = Remembered(1_000)
    assert seen.is_new_order(purchase())
    assert not seen.is_new_order(purchase(event_id="again", event_time_ms=3))
    assert seen.is_new_order(purchase(visitor_id="bob"))
    assert seen.is_new_order(purchase(transaction_id="t2", event_time_ms=2_000))
    assert seen.forget() == ["ann/t", "bob/t"]
