"""Which answer an interaction is credited to, and what an answer came to.

By the prediction id the shop passed back, else the newest answer shown to this visitor that listed
the item within the window. An answer that was not shown is never credited. All functions read the
facts and change nothing.
"""

from typing import NamedTuple

import msgspec

from core.verdict import CLICKS, Verdict
from core.visitor_facts import STRENGTH, Answer, Order, Visitor, refunded
from schemas.outcomes import Attributed, LabelAge, LabelState, SlotLabel


class Windows(msgspec.Struct, frozen=True):
    """How long after an answer clicks and purchases count, and how far clocks may disagree.

    `early` are the label ages to state before the window ends.
    """

    click_ms: int
    purchase_ms: int
    skew_ms: int
    early: tuple[LabelAge, ...] = ("5m", "1h", "24h")

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


def verdict_of(
    visitor: Visitor,
    answer: Answer,
    as_of_ms: int,
    windows: Windows,
    stated: tuple[LabelAge, int, int] | None = None,
) -> Verdict:
    """What the answer came to from the facts up to `as_of_ms` (its window bounds them too).

    `stated` makes it a statement: at which age, with which version, closed at which event time.
    """
    ends_ms = answer.served_at_ms + windows.purchase_ms
    final = as_of_ms >= ends_ms
    until_ms = ends_ms if final else as_of_ms
    basket = _basket(visitor, answer, until_ms, as_of_ms) if visitor.orders else []
    bought = visitor.bought
    age, version, closed_at_ms = stated or ("final", 0, until_ms)
    slots: list[SlotLabel] = []
    clicks = carts = 0
    if answer.shown:
        blank: LabelState = "expired_negative" if final else "pending"
        if _untouched(visitor, answer):
            slots = _blank(answer.items, blank)
        else:
            slots, clicks, carts = _slots(visitor, answer, as_of_ms, (windows, blank))
    return Verdict(
        prediction_id=answer.prediction_id,
        slots=slots,
        basket=basket,
        new_basket=[item for item in basket if bought[item] > answer.served_at_ms],
        liked=[slot.item_id for slot in slots if slot.kind == "feedback"],
        clicks=clicks,
        carts=carts,
        age=age,
        version=version,
        closed_at_ms=closed_at_ms,
        learns=visitor.learns,
    )


def _untouched(visitor: Visitor, answer: Answer) -> bool:
    """Whether nothing that the visitor did can be credited to the answer."""
    return not visitor.orders and visitor.touches.keys().isdisjoint(answer.items)


def _blank(item_ids: list[str], state: LabelState) -> list[SlotLabel]:
    return [
        SlotLabel(item_id=item_id, position=position, state=state)
        for position, item_id in enumerate(item_ids, 1)
    ]


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
    visitor: Visitor, answer: Answer, as_of_ms: int, rules: tuple[Windows, LabelState]
) -> tuple[list[SlotLabel], int, int]:
    """The labels, and how many slots were clicked and how many put into the cart."""
    windows, blank = rules
    slots, clicks, carts = [], 0, 0
    from_ms = answer.served_at_ms - windows.skew_ms
    until_ms = min(as_of_ms, answer.served_at_ms + windows.purchase_ms)
    orders = [order for order in visitor.orders if from_ms < order.at_ms <= until_ms]
    touches = visitor.touches
    for position, item_id in enumerate(answer.items, start=1):
        bought = [order for order in orders if item_id in order.lines] if orders else orders
        if not bought and item_id not in touches:
            slots.append(SlotLabel(item_id=item_id, position=position, state=blank))
            continue
        credits = _touched(visitor, answer, item_id, as_of_ms, windows)
        if bought:
            credits += _bought(visitor, answer, item_id, as_of_ms, (bought, windows))
        clicks += any(credit.kind in CLICKS for credit in credits)
        carts += any(credit.kind == "add_to_cart" for credit in credits)
        slots.append(_label(item_id, position, credits, blank))
    return slots, clicks, carts


def _label(item_id: str, position: int, credits: list[Credit], blank: LabelState) -> SlotLabel:
    if not credits:
        return SlotLabel(item_id=item_id, position=position, state=blank)
    strongest = credits[0] if len(credits) == 1 else max(credits, key=_strength)
    return SlotLabel(
        item_id=item_id,
        position=position,
        state="retracted" if strongest.back else "positive",
        kind=strongest.kind,
        at_ms=strongest.at_ms,
        attributed=strongest.how,
        revenue=sum(credit.revenue for credit in credits),
    )


def _strength(credit: Credit) -> tuple[int, bool, int]:
    return STRENGTH[credit.kind], not credit.back, -credit.at_ms


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
    newest: Answer | None = None
    for other in visitor.answers.values():
        served_ms = other.served_at_ms
        if not served_ms < at_ms <= served_ms + window_ms or item_id not in other.items:
            continue  # one that was not shown has no items
        if newest is None or (served_ms, other.prediction_id) > (
            newest.served_at_ms,
            newest.prediction_id,
        ):
            newest = other
    return "window" if newest is answer else "none"


def _named(answer: Answer, item_id: str, at_ms: int, window_ms: int, skew_ms: int) -> bool:
    """Whether an answer named by an interaction can be credited with it."""
    in_time = answer.served_at_ms - skew_ms < at_ms <= answer.served_at_ms + window_ms
    return answer.shown and in_time and item_id in answer.items
