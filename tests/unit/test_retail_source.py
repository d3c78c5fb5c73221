"""How invoice lines become entries of a replay."""

from collections import Counter

import pytest

from core.replay_plan import Broken, Happened, LeftOut, Offered
from core.retail_rules import parse
from local.retail_source import entries, read_lines
from schemas.codec import Decoder
from schemas.errors import InvalidEvent
from schemas.events import PurchaseMade, RefundMade, ShopEvent


def line(number, invoice, code="85123A", quantity="6", at="08:26:00", customer="17850.0", **more):
    row = {
        "InvoiceNo": invoice,
        "StockCode": code,
        "Description": more.get("title", "LANTERN"),
        "Quantity": quantity,
        "InvoiceDate": f"2010-12-01 {at}",
        "UnitPrice": more.get("price", "2.55"),
        "CustomerID": customer,
    }
    return f"2010-12-01.csv:{number}", parse(row)


def made(*lines):
    return list(entries(iter(lines)))


def events(*lines):
    return [entry.event for entry in made(*lines) if isinstance(entry, Happened)]


def test_one_invoice_is_one_purchase_with_the_line_each_item_came_from():
    (purchase,) = events(line(2, "536365"), line(3, "536365", "71053", "2", at="08:27:00"))
    assert isinstance(purchase, PurchaseMade)
    assert [item.source_id for item in purchase.items] == ["2010-12-01.csv:2", "2010-12-01.csv:3"]
    assert purchase.transaction_id == "536365"
    assert purchase.event_time_ms == 1_291_191_960_000
    assert purchase.value == 20.4


def test_a_cancellation_is_a_refund_of_positive_quantities():
    (refund,) = events(line(2, "C536365", quantity="-3"))
    assert isinstance(refund, RefundMade)
    assert [item.quantity for item in refund.items] == [3]


def test_a_code_that_is_no_product_is_left_out_and_counted():
    found = made(line(2, "536365", "POST"), line(3, "536365"))
    assert [entry.lines for entry in found if isinstance(entry, LeftOut)] == [1]
    assert len([entry for entry in found if isinstance(entry, Happened)]) == 1


def test_an_invoice_without_products_gives_no_event():
    assert [type(entry) for entry in made(line(2, "A563186", "B", price="-11062.06"))] == [LeftOut]


def test_a_bad_quantity_is_sent_as_it_is_and_intake_refuses_it():
    (entry,) = made(line(2, "536366", quantity="-10", customer=""))
    assert isinstance(entry, Broken)
    with pytest.raises(InvalidEvent, match="quantity"):
        Decoder(ShopEvent)(entry.raw)


def test_a_line_without_a_customer_is_a_guest_of_its_invoice():
    (purchase,) = events(line(2, "536370", customer=""))
    assert purchase.visitor_id == "guest:536370"


def test_invoices_within_ten_minutes_of_each_other_are_one_session():
    found = events(
        line(2, "1", at="08:00:00"), line(3, "2", at="08:09:00"), line(4, "3", at="08:20:00")
    )
    sessions = [event.session_id for event in found]
    assert sessions[0] == sessions[1] != sessions[2]


def test_an_item_is_offered_just_before_it_is_first_named_and_once():
    found = made(line(2, "1"), line(3, "2", at="09:00:00"))
    assert [type(entry) for entry in found] == [Offered, Happened, Happened]


def test_a_title_that_comes_later_is_offered_when_it_comes():
    found = made(line(2, "1", title=""), line(3, "2", at="09:00:00"), line(4, "3", at="09:30:00"))
    assert [entry.item.title for entry in found if isinstance(entry, Offered)] == ["", "LANTERN"]


def test_the_packed_data_accounts_for_every_line_of_its_first_days():
    lines = []
    for source_id, parsed in read_lines():
        if source_id.startswith("2010-12-05"):
            break
        lines.append((source_id, parsed))
    found = made(*lines)
    counted = Counter(
        item.source_id
        for entry in found
        if isinstance(entry, Happened)
        for item in entry.event.items
    )
    left_out = sum(entry.lines for entry in found if isinstance(entry, LeftOut))
    refused = sum(entry.raw.count(b'"source_id"') for entry in found if isinstance(entry, Broken))
    assert max(counted.values()) == 1
    assert len(counted) + left_out + refused == len(lines)
    assert [entry.at_ms for entry in found] == sorted(entry.at_ms for entry in found)
