"""Builders of answers and events for the join's tests, with every field defaulted."""

from core.attribution import Windows
from core.features import FEATURE_NAMES, feature_schema_hash
from schemas.events import CartAdded, EventItem, ItemSelected, PurchaseMade, RefundMade
from schemas.predictions import Arm, Context, Prediction, Slot

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
START_MS = 1_300_000_000_000
AFTER_MS = START_MS + 365 * DAY_MS
"""A wall time that all inputs lie before."""
WINDOWS = Windows(click_ms=HOUR_MS, purchase_ms=DAY_MS, skew_ms=MINUTE_MS)


def features(place: int) -> list[float]:
    """A row of features that tells places apart."""
    return [float(place), *([0.5] * (len(FEATURE_NAMES) - 1))]


def answer(
    name: str = "p1",
    at_ms: int = START_MS,
    items: str = "abc",
    *,
    arm: Arm = "champion",
    policy: str = "loop",
    surface: str = "home",
    session: str | None = None,
) -> Prediction:
    """An answer listing one item per letter, each with features."""
    slots = [
        Slot(item_id=item, position=place, score=1.0 / place, features=features(place))
        for place, item in enumerate(items, start=1)
    ]
    return Prediction(
        prediction_id=name,
        request_id="r" + name,
        visitor_id="v",
        task="recommend",
        surface=surface,
        served_at_ms=at_ms,
        policy=policy,
        arm=arm,
        model_version="m",
        weights_version="w",
        slots=slots,
        context=Context(feature_schema=feature_schema_hash()),
        session_id=session,
    )


def lines(items: str, token: str | None) -> list[EventItem]:
    """One line of price 2 per letter."""
    return [EventItem(item_id=item, price=2.0, prediction_id=token) for item in items]


def purchase(
    name: str,
    at_ms: int,
    items: str = "a",
    *,
    token: str | None = None,
    session: str | None = None,
) -> PurchaseMade:
    """An order of one unit per letter."""
    return PurchaseMade(
        event_id=name,
        event_time_ms=at_ms,
        visitor_id="v",
        session_id=session,
        transaction_id="t" + name,
        items=lines(items, token),
    )


def refund(name: str, at_ms: int, order: str, items: str = "a") -> RefundMade:
    """The units of an order coming back."""
    return RefundMade(
        event_id=name,
        event_time_ms=at_ms,
        visitor_id="v",
        transaction_id="t" + order,
        items=lines(items, None),
    )


def click(name: str, at_ms: int, items: str = "a", token: str | None = None) -> ItemSelected:
    """A click on each item."""
    return ItemSelected(
        event_id=name, event_time_ms=at_ms, visitor_id="v", items=lines(items, token)
    )


def cart(name: str, at_ms: int, items: str = "a", token: str | None = None) -> CartAdded:
    """Each item put into the cart."""
    return CartAdded(event_id=name, event_time_ms=at_ms, visitor_id="v", items=lines(items, token))
