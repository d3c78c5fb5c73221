"""Rules over more than one field of an event, and over its time. Types and ranges are the schemas'.

Lenient on purpose: refused is what would spoil the judgement of other events, not what is untidy.
Knows no topic and no clock: the current time is an argument.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from core.settings import Settings
from schemas.errors import InvalidEvent
from schemas.events import FeedbackGiven, ItemSelected, PurchaseMade, RefundMade, ShopEvent

PLACEHOLDERS = frozenset({"null", "undefined", "none", "nan", "(not set)", "[object Object]"})
"""What broken trackers send in an id's place: thousands of shoppers would become one."""

_SECONDS_FROM, _SECONDS_WITHIN_MS = 1_000_000_000, 5 * 366 * 86_400_000
"""A time that, taken for seconds, is after 2001 and within five years of now."""


class Limits(msgspec.Struct, frozen=True):
    """What the shop set: how far ahead and behind an event may be, and its currency."""

    ahead_ms: int = 0
    behind_ms: int = 0
    currency: str = ""


def limits_of(settings: Settings) -> Limits:
    """The limits of these settings."""
    return Limits(settings.future_tolerance_ms, settings.late_horizon_ms, settings.currency)


def check(event: ShopEvent, now_ms: int | None, limits: Limits) -> None:
    """Returns when the event may pass.

    Args:
        event: what decoding gave.
        now_ms: wall time; None in barrier time, where events come from the past or any time.
        limits: the shop's.

    Raises:
        InvalidEvent: missing_prediction_id (feedback without the answer it judges), items_not_one
            (a click on several items), placeholder_visitor_id, placeholder_transaction_id,
            foreign_currency, seconds, future, late.

    >>> verdict = FeedbackGiven(event_id="e", event_time_ms=1, visitor_id="v", verdict=1.0)
    >>> check(verdict, None, Limits())
    Traceback (most recent call last):
        ...
    schemas.errors.InvalidEvent: feedback names no prediction_id
    """
    rule = _RULES.get(type(event))
    if rule is not None:
        rule(event, limits)
    if event.visitor_id in PLACEHOLDERS:
        raise InvalidEvent("placeholder_visitor_id", f"visitor_id is {event.visitor_id!r}")
    if now_ms is not None:
        in_time(event.event_time_ms, now_ms, limits)


def in_time(at_ms: int, now_ms: int, limits: Limits) -> None:
    """Returns when an event time is neither too far ahead nor behind; raises as `check`.

    >>> in_time(1_790_000_000, 1_790_000_000_000, Limits())
    Traceback (most recent call last):
        ...
    schemas.errors.InvalidEvent: event time 1790000000 is in seconds, milliseconds are wanted
    """
    if at_ms > _SECONDS_FROM and abs(at_ms * 1_000 - now_ms) < _SECONDS_WITHIN_MS:
        raise InvalidEvent("seconds", f"event time {at_ms} is in seconds, milliseconds are wanted")
    if at_ms > now_ms + limits.ahead_ms:
        raise InvalidEvent(
            "future", f"event time is {at_ms - now_ms} ms ahead, at most {limits.ahead_ms}"
        )
    if limits.behind_ms and at_ms < now_ms - limits.behind_ms:
        raise InvalidEvent(
            "late", f"event time is {now_ms - at_ms} ms behind, at most {limits.behind_ms}"
        )


def _selected(event: ItemSelected, _: Limits) -> None:
    if len(event.items) != 1:
        raise InvalidEvent("items_not_one", f"select_item names {len(event.items)} items, not 1")


def _feedback(event: FeedbackGiven, _: Limits) -> None:
    if event.prediction_id is None:
        raise InvalidEvent("missing_prediction_id", "feedback names no prediction_id")


def _order(event: PurchaseMade | RefundMade, limits: Limits) -> None:
    if event.transaction_id in PLACEHOLDERS:
        raise InvalidEvent(
            "placeholder_transaction_id", f"transaction_id is {event.transaction_id!r}"
        )
    if limits.currency and event.currency not in (None, limits.currency):
        raise InvalidEvent(
            "foreign_currency", f"currency is {event.currency}, the shop's is {limits.currency}"
        )


_RULES: dict[type, Callable[[Any, Limits], None]] = {
    ItemSelected: _selected,
    FeedbackGiven: _feedback,
    PurchaseMade: _order,
    RefundMade: _order,
}
