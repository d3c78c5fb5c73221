"""Events over HTTP are refused, none of them sent, while too many wait for the broker."""

import pytest

from core.settings import Settings
from schemas.codec import encode
from schemas.errors import Overloaded, Unavailable
from schemas.events import EventItem, ItemViewed
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
