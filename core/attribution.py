"""Which answer an interaction is credited to, and what an answer came to.

By the prediction id the shop passed back, else the newest answer shown to this visitor that listed
the item within the window. An answer that was not shown is never credited. All functions read the
facts and change nothing.
"""

from typing import NamedTuple

import msgspec

from core.verdict import CLICKS, Verdict
from core.visitor_facts import STRENGTH, Answer, Order, Visitor, refunded
from schemas.outcomes import Attributed, SlotLabel


class Windows(msgspec.Struct, frozen=True):
    """How long after an answer clicks and purchases count, and how far clocks may disagree."""

    click_ms: int
    purchase_ms: int
    skew_ms: int

    def of_kind(self, kind: str) -> int:
        """The window of one kind of interaction.

        >>> Windows(click_ms=1, purchase_ms=2, skew_ms=0).of_kind("purchase")
        2
        """
        return self.click_ms if kind in CLICKS else self.purchase_ms


class Credit(NamedTuple):
    """One interaction credited to one slot."""

    kind: str
    at_ms: int
    how: Attributed
    revenue: float = 0.0
    back: bool = False


def verdict_of(visitor: Visitor, answer: Answer, as_of_ms: int, windows: Windows) -> Verdict:
    """What the answer came to from the facts up to `as_of_ms` (its window bounds them too)."""
    until_ms = min(as_of_ms, answer.served_at_ms + windows.purchase_ms)
    basket = _basket(visitor, answer, until_ms, as_of_ms)
    bought = visitor.bought
    final = as_of_ms >= answer.served_at_ms + windows.purchase_ms
    slots, clicks, carts = (
        _slots(visitor, answer, as_of_ms, windows) if answer.shown else ([], 0, 0)
    )
    if not final:
        slots = [_pending(slot) for slot in slots]
    return Verdict(
        prediction_id=answer.prediction_id,
        slots=slots,
        basket=basket,
        new_basket=[item for item in basket if bought[item] > answer.served_at_ms],
        liked=[slot.item_id for slot in slots if slot.kind == "feedback"],
        clicks=clicks,
        carts=carts,
        closed_at_ms=until_ms,
    )


def _pending(slot: SlotLabel) -> SlotLabel:
    if slot.state != "expired_negative":
        return slot
    return msgspec.structs.replace(slot, state="pending")


def _basket(visitor: Visitor, answer: Answer, until_ms: int, as_of_ms: int) -> list[str]:
    items: dict[str, None] = {}
    for order in visitor.orders:
        if not answer.served_at_ms < order.at_ms <= until_ms:
            continue
        if answer.session_id is not None and order.session_id != answer.session_id:
            continue
        back = refunded(visitor, order, as_of_ms) if visitor.refunds else set()
        items.update((item, None) for item in order.lines if item not in back)
    return list(items)


def _slots(
    visitor: Visitor, answer: Answer, as_of_ms: int, windows: Windows
) -> tuple[list[SlotLabel], int, int]:
    slots, clicks, carts = [], 0, 0
    from_ms = answer.served_at_ms - windows.skew_ms
    until_ms = min(as_of_ms, answer.served_at_ms + windows.purchase_ms)
    orders = [order for order in visitor.orders if from_ms < order.at_ms <= until_ms]
    for position, item_id in enumerate(answer.items, start=1):
        bought = [order for order in orders if item_id in order.lines]
        if not bought and item_id not in visitor.touches:
            slots.append(_label(item_id, position, []))
            continue
        credits = _touched(visitor, answer, item_id, as_of_ms, windows)
        if bought:
            credits += _bought(visitor, answer, item_id, as_of_ms, (bought, windows))
        clicks += any(credit.kind in CLICKS for credit in credits)
        carts += any(credit.kind == "add_to_cart" for credit in credits)
        slots.append(_label(item_id, position, credits))
    return slots, clicks, carts


def _label(item_id: str, position: int, credits: list[Credit]) -> SlotLabel:
    if not credits:
        return SlotLabel(item_id=item_id, position=position, state="expired_negative")
    strongest = max(credits, key=lambda each: (STRENGTH[each.kind], not each.back, -each.at_ms))
    return SlotLabel(
        item_id=item_id,
        position=position,
        state="retracted" if strongest.back else "positive",
        kind=strongest.kind,
        at_ms=strongest.at_ms,
        attributed=strongest.how,
        revenue=sum(credit.revenue for credit in credits),
    )


def _touched(
    visitor: Visitor, answer: Answer, item_id: str, as_of_ms: int, windows: Windows
) -> list[Credit]:
    credits = []
    for touch in visitor.touches.get(item_id, ()):
        if touch.at_ms <= as_of_ms:
            window_ms = windows.of_kind(touch.kind)
            how = _how(visitor, answer, item_id, (touch.at_ms, touch.token), window_ms, windows)
            if how != "none":
                credits.append(Credit(touch.kind, touch.at_ms, how))
    return credits


def _bought(
    visitor: Visitor,
    answer: Answer,
    item_id: str,
    as_of_ms: int,
    within: tuple[list[Order], Windows],
) -> list[Credit]:
    """Credits of the orders that hold the item and lie within the window."""
    orders, windows = within
    credits = []
    for order in orders:
        line = order.lines[item_id]
        named = (order.at_ms, line.token)
        how = _how(visitor, answer, item_id, named, windows.purchase_ms, windows)
        if how != "none":
            back = bool(visitor.refunds) and item_id in refunded(visitor, order, as_of_ms)
            revenue = 0.0 if back else line.revenue
            credits.append(Credit("purchase", order.at_ms, how, revenue, back))
    return credits


def _how(
    visitor: Visitor,
    answer: Answer,
    item_id: str,
    named: tuple[int, str | None],
    window_ms: int,
    windows: Windows,
) -> Attributed:
    """How an interaction (its time and token) is credited to this answer, if it is."""
    at_ms, token = named
    if not answer.served_at_ms - windows.skew_ms < at_ms <= answer.served_at_ms + window_ms:
        return "none"
    by_token = visitor.answers.get(token) if token is not None else None
    if by_token is not None and _named(by_token, item_id, at_ms, window_ms, windows.skew_ms):
        return "token" if by_token is answer else "none"
    newest = max(
        (
            (other.served_at_ms, other.prediction_id)
            for other in visitor.answers.values()
            if other.shown
            and other.served_at_ms < at_ms <= other.served_at_ms + window_ms
            and item_id in other.items
        ),
        default=None,
    )
    credited = newest is not None and newest[1] == answer.prediction_id
    return "window" if credited else "none"


def _named(answer: Answer, item_id: str, at_ms: int, window_ms: int, skew_ms: int) -> bool:
    """Whether an answer named by an interaction can be credited with it."""
    in_time = answer.served_at_ms - skew_ms < at_ms <= answer.served_at_ms + window_ms
    return answer.shown and in_time and item_id in answer.items
