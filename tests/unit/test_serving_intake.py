"""Events over HTTP are refused, none of them sent, while too many wait for the broker."""

import time

import pytest

from core.settings import Settings
from schemas.codec import encode
from schemas.errors import InvalidEvent, Overloaded, Unavailable
from schemas.events import EventItem, ItemViewed, Searched
from serving.intake import EventIntake
from serving.outbox import Delivery, Outgoing


class SlowOutbox:
    """Takes records that no broker acknowledges."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.waiting = 0

    def send(self, records: list[Outgoing], room_s: float) -> Delivery:
        self.sent.extend(records)
        return Delivery(0)


def _body(count: int) -> bytes:
    return encode(
        [
            ItemViewed(
                event_id=f"e{number}",
                event_time_ms=1_300_000_000_000,
                visitor_id="v",
                items=[EventItem(item_id="a")],
            )
            for number in range(count)
        ]
    )


def test_events_above_what_may_wait_are_refused_whole() -> None:
    outbox = SlowOutbox()
    intake = EventIntake(Settings(waiting_events=10), "serving-1", outbox)  # type: ignore[arg-type]
    outbox.waiting = 8
    with pytest.raises(Overloaded) as refused:
        intake.take(_body(3))
    assert refused.value.retry_after_s == 1.0
    assert outbox.sent == []
    assert intake.take(_body(2)).accepted == 2


def test_large_call_passes_while_nothing_waits() -> None:
    outbox = SlowOutbox()
    intake = EventIntake(Settings(waiting_events=10), "serving-1", outbox)  # type: ignore[arg-type]
    assert intake.take(_body(12)).accepted == 12


def test_who_waited_for_a_turn_as_long_as_the_broker_may_take_is_refused_unsent() -> None:
    outbox = SlowOutbox()
    intake = EventIntake(Settings(), "serving-1", outbox)  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        intake.take(_body(1), within_s=0.0)
    assert outbox.sent == []


def test_a_time_that_streams_would_refuse_is_refused_in_the_reply() -> None:
    now_s = int(time.time())
    times = [4_000_000_000_000, now_s, 1_300_000_000_000, now_s * 1_000]
    body = encode(
        [Searched(event_id="e", event_time_ms=at, visitor_id="v", query="mug") for at in times]
    )
    intake = EventIntake(Settings(), "serving-1", SlowOutbox())  # type: ignore[arg-type]
    errors = intake.take(body).errors
    assert [(each.index, each.reason) for each in errors] == [(0, "future"), (1, "seconds")]
    replay = EventIntake(Settings(), "serving-1", SlowOutbox(), lambda: True)  # type: ignore[arg-type]
    assert replay.take(body).accepted == len(times)


def test_an_unknown_event_is_told_the_names_there_are() -> None:
    intake = EventIntake(Settings(), "serving-1", SlowOutbox())  # type: ignore[arg-type]
    (error,) = intake.take(b'{"event_name": "purchas"}').errors
    assert "expected one of view_item_list, select_item" in error.message


@pytest.mark.parametrize(("body", "reason"), [(b"[]", "empty"), (_body(1_001), "too_many")])
def test_a_list_of_no_or_too_many_events_is_refused_for_what_it_is(
    body: bytes, reason: str
) -> None:
    intake = EventIntake(Settings(), "serving-1", SlowOutbox())  # type: ignore[arg-type]
    with pytest.raises(InvalidEvent, match="expected 1 to 1000") as refused:
        intake.take(body)
    assert refused.value.reason == reason
