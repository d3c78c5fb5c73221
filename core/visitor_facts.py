"""What the join remembers of one visitor: answers, interactions, orders, refunds.

Plain data with its own upkeep; what the facts mean for an answer is `core/join.py`'s.
"""

import msgspec

from schemas.events import (
    CartAdded,
    Favourited,
    FeedbackGiven,
    ItemSelected,
    ItemViewed,
    PurchaseMade,
    RefundMade,
    Searched,
    ShopEvent,
)

MOST_TOUCHES_OF_AN_ITEM = 200
MOST_ORDERS = 2_000
TouchEvent = ItemSelected | ItemViewed | CartAdded | Favourited
STRENGTH: dict[str, int] = {
    "purchase": 5,
    "feedback": 4,
    "add_to_cart": 3,
    "add_to_wishlist": 2,
    "select_item": 1,
    "view_item": 0,
}
_KIND: dict[type[ShopEvent], str] = {
    ItemSelected: "select_item",
    ItemViewed: "view_item",
    CartAdded: "add_to_cart",
    Favourited: "add_to_wishlist",
}


class Answer(msgspec.Struct, array_like=True):
    """One answer and how far its labels have come. `items` is empty for one that was not shown.

    `due_ms` is when something is next to be stated or forgotten, `stage` the label age it is at.
    """

    prediction_id: str
    served_at_ms: int
    session_id: str | None
    shown: bool
    items: list[str]
    due_ms: int
    stage: int = 0
    version: int = 0
    closed: bool = False


class Touch(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One interaction with one item, purchases apart."""

    event_id: str
    at_ms: int
    kind: str
    token: str | None


class Line(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One item of an order, its lines added up."""

    quantity: int
    revenue: float
    token: str | None


class Order(msgspec.Struct, frozen=True, array_like=True):
    """One purchase."""

    event_id: str
    transaction_id: str
    at_ms: int
    session_id: str | None
    lines: dict[str, Line]


class Refund(msgspec.Struct, frozen=True, array_like=True):
    """Items of an order that came back."""

    event_id: str
    transaction_id: str
    at_ms: int
    quantities: dict[str, int]


class Visitor(msgspec.Struct, array_like=True):
    """Everything remembered of one visitor.

    `bought` maps item to the first time it was bought, and is kept for good; the rest leaves as
    event time moves on. `waiting` maps tokens of answers not known yet to when they were named,
    `in_minute` counts events of the minute `minute`.
    """

    bought: dict[str, int] = {}
    answers: dict[str, Answer] = {}
    touches: dict[str, list[Touch]] = {}
    orders: list[Order] = []
    refunds: list[Refund] = []
    waiting: dict[str, int] = {}
    minute: int = -1
    in_minute: int = 0
    learns: bool = True
    consent_ms: int = -1


def add_event(visitor: Visitor, event: ShopEvent) -> bool:
    """Takes one event's facts in; False when it holds none or they are known already."""
    kind = _KIND.get(type(event))
    if kind is not None:
        return _add_touches(visitor, event, kind)  # type: ignore[arg-type]
    match event:
        case PurchaseMade():
            return _add_order(visitor, event)
        case RefundMade():
            return _add_refund(visitor, event)
        case FeedbackGiven():
            return _add_feedback(visitor, event)
        case _:
            return False


def touched(event: ShopEvent) -> set[str]:
    """The items that an event other than a purchase or a refund says something of."""
    if isinstance(event, FeedbackGiven):
        return {event.item_id} if event.item_id is not None else set()
    return {item.item_id for item in event.items} if type(event) in _KIND else set()  # type: ignore[union-attr]


def tokens_of(event: ShopEvent) -> list[str]:
    """The prediction ids an event names, on itself or on its items, each once."""
    named = [event.prediction_id] if event.prediction_id else []
    if not isinstance(event, Searched | FeedbackGiven):
        for item in event.items:
            token = item.prediction_id
            if token and token not in named:
                named.append(token)
    return named


def _add_order(visitor: Visitor, event: PurchaseMade) -> bool:
    if any(order.event_id == event.event_id for order in visitor.orders):
        return False
    lines: dict[str, Line] = {}
    for item in event.items:
        before = lines.get(item.item_id)
        lines[item.item_id] = Line(
            quantity=item.quantity + (before.quantity if before else 0),
            revenue=item.quantity * (item.price or 0.0) + (before.revenue if before else 0.0),
            token=(before.token if before else None) or item.prediction_id or event.prediction_id,
        )
        first = visitor.bought.get(item.item_id)
        if first is None or event.event_time_ms < first:
            visitor.bought[item.item_id] = event.event_time_ms
    visitor.orders.append(
        Order(event.event_id, event.transaction_id, event.event_time_ms, event.session_id, lines)
    )
    visitor.orders.sort(key=lambda order: (order.at_ms, order.event_id))
    del visitor.orders[:-MOST_ORDERS]
    return True


def _add_refund(visitor: Visitor, event: RefundMade) -> bool:
    if any(refund.event_id == event.event_id for refund in visitor.refunds):
        return False
    quantities: dict[str, int] = {}
    for item in event.items:
        quantities[item.item_id] = quantities.get(item.item_id, 0) + item.quantity
    visitor.refunds.append(
        Refund(event.event_id, event.transaction_id, event.event_time_ms, quantities)
    )
    visitor.refunds.sort(key=lambda refund: (refund.at_ms, refund.event_id))
    del visitor.refunds[:-MOST_ORDERS]
    return True


def _add_feedback(visitor: Visitor, event: FeedbackGiven) -> bool:
    if event.item_id is None or event.verdict <= 0:
        return False
    touch = Touch(event.event_id, event.event_time_ms, "feedback", event.prediction_id)
    return _add_touch(visitor.touches.setdefault(event.item_id, []), touch)


def _add_touches(visitor: Visitor, event: TouchEvent, kind: str) -> bool:
    added = False
    touches = visitor.touches
    for item in event.items:
        token = item.prediction_id or event.prediction_id
        touch = Touch(event.event_id, event.event_time_ms, kind, token)
        known = touches.get(item.item_id)
        if known is None:
            touches[item.item_id] = [touch]
            added = True
        else:
            added |= _add_touch(known, touch)
    return added


def _add_touch(known: list[Touch], touch: Touch) -> bool:
    """Puts one interaction with an item in its place; False when it is there already."""
    for other in known:
        if other.event_id == touch.event_id:
            return False
    known.append(touch)
    if len(known) > 1 and known[-2].at_ms >= touch.at_ms:
        known.sort(key=lambda other: (other.at_ms, other.event_id))
    del known[:-MOST_TOUCHES_OF_AN_ITEM]
    return True


def forget_before(visitor: Visitor, horizon_ms: int) -> None:
    """Drops interactions, orders and refunds older than the horizon; `bought` stays."""
    if visitor.orders:
        visitor.orders[:] = [each for each in visitor.orders if each.at_ms >= horizon_ms]
    if visitor.refunds:
        visitor.refunds[:] = [each for each in visitor.refunds if each.at_ms >= horizon_ms]
    old = [item for item, known in visitor.touches.items() if known[0].at_ms < horizon_ms]
    for item_id in old:
        known = visitor.touches[item_id]
        kept = [touch for touch in known if touch.at_ms >= horizon_ms]
        if kept:
            known[:] = kept
        else:
            del visitor.touches[item_id]


def refunded(visitor: Visitor, order: Order, until_ms: int) -> set[str]:
    """Items of the order of which every unit has come back by `until_ms`."""
    back: dict[str, int] = {}
    for refund in visitor.refunds:
        if refund.transaction_id == order.transaction_id and refund.at_ms <= until_ms:
            for item_id, quantity in refund.quantities.items():
                back[item_id] = back.get(item_id, 0) + quantity
    return {item for item, line in order.lines.items() if back.get(item, 0) >= line.quantity}
