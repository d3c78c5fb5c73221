"""Reasons of refusals, and repeats within the window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.event_rules import Limits, check
from core.intake import Remembered, typed
from schemas.codec import Decoder
from schemas.errors import InvalidEvent
from schemas.events import EventRecord, FeedbackGiven, Searched

DECODE = Decoder(EventRecord)
HEAD = b'"event_id": "e", "event_time_ms": 1, "visitor_id": "v"'


def reason(data: bytes) -> str:
    with pytest.raises(InvalidEvent) as caught:
        DECODE(data)
    return typed(caught.value).reason


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty"),
        (b"x" * 1_000_001, "too_large"),
        (b"{", "malformed"),
        (b'{"event_name": "\xff"}', "malformed"),
        (b'{"event_name": "search", "x": ' + b"[" * 100_000, "malformed"),
        (b"3", "invalid_record"),
        (b'{"event_name": "danced"}', "invalid_event_name"),
        (b'{"event_name": "search", "event_id": "e"}', "missing_event_time_ms"),
        (b'{"event_name": "purchase", ' + HEAD + b"}", "missing_transaction_id"),
        (
            b'{"event_name": "view_item", '
            + HEAD
            + b', "items": [{"item_id": "a", "quantity": 0}]}',
            "invalid_items_quantity",
        ),
        (b'{"event_name": "view_item", ' + HEAD + b', "items": [{}]}', "missing_items_item_id"),
        (b'{"event_name": "view_item", ' + HEAD + b', "items": []}', "invalid_items"),
        (b'{"event_name": "search", ' + HEAD + b', "query": 3}', "invalid_query"),
    ],
)
def test_a_refusal_names_the_field(data: bytes, expected: str) -> None:
    assert reason(data) == expected


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    refusals = []
    try:
        DECODE(data)
    except InvalidEvent as error:
        refusals.append(typed(error).reason)
    assert all(refusals)


def search(name: str, at_ms: int) -> Searched:
    return Searched(event_id=name, event_time_ms=at_ms, visitor_id="v", query="mug")


def test_feedback_names_the_answer_it_judges() -> None:
    verdict = FeedbackGiven(event_id="e", event_time_ms=1, visitor_id="v", verdict=1.0)
    with pytest.raises(InvalidEvent) as caught:
        check(verdict, None, Limits())
    assert caught.value.reason == "missing_prediction_id"


def test_the_future_is_refused_in_live_time_alone() -> None:
    check(search("e", 1_100), 1_000, Limits(100))
    check(search("e", 1_101), None, Limits(100))
    with pytest.raises(InvalidEvent) as caught:
        check(search("e", 1_101), 1_000, Limits(100))
    assert caught.value.reason == "future"


def test_an_id_is_forgotten_after_the_window() -> None:
    remembered = Remembered(100)
    assert remembered.is_new(search("a", 0))
    assert remembered.is_new(search("b", 101))
    assert remembered.forget() == ["a"]
    assert not remembered.is_new(search("b", 101))


def test_no_more_ids_are_remembered_than_allowed() -> None:
    remembered = Remembered(1_000, most=2)
    for number in range(5):
        remembered.is_new(search(str(number), number))
    assert remembered.forget() == ["0", "1", "2"]
    assert len(remembered) == 2


@given(st.lists(st.integers(0, 5)))
def test_each_id_is_new_once(numbers: list[int]) -> None:
    remembered = Remembered(1_000)
    new = [number for number in numbers if remembered.is_new(search(str(number), number))]
    assert sorted(new) == sorted(set(numbers))
