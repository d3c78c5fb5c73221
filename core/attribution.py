"""Which answer an interaction is credited to, and what an answer came to.

By the prediction id the shop passed back, else the newest answer shown to this visitor that listed
the item within the window. An answer that was not shown is never credited. All functions read the
facts and change nothing.
"""

from collections.abc import Collection, Iterable, Mapping
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


Listing = Mapping[str, Collection[Answer]]
"""The answers that list an item, by item."""


class _Facts(msgspec.Struct, gc=False):
    """What an answer's slots are read from: of whom, as of when, by which windows."""

    visitor: Visitor
    answer: Answer
    as_of_ms: int
    windows: Windows
    listing: Listing | None

    def rivals(self, item_id: str) -> Collection[Answer]:
        """The answers among which those that list the item are."""
        if self.listing is None:
            return self.visitor.answers.values()
        return self.listing.get(item_id, ())


def listing_of(answers: Iterable[Answer]) -> Listing:
    """Which answers list which item; worth making where many verdicts are read at once."""
    listing: dict[str, list[Answer]] = {}
    for answer in answers:
        for item_id in answer.items:
            listing.setdefault(item_id, []).append(answer)
    return listing


def verdict_of(
    visitor: Visitor,
    answer: Answer,
    as_of_ms: int,
    windows: Windows,
    stated: tuple[LabelAge, int, int] | None = None,
    listing: Listing | None = None,
) -> Verdict:
    """What the answer came to from the facts up to `as_of_ms` (its window bounds them too).

    `stated` makes it a statement: at which age, with which version, closed at which event time.
    `listing` is that of all answers of the visitor, where the caller has it.
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
        facts = _Facts(visitor, answer, as_of_ms, windows, listing)
        slots, clicks, carts = _slots(facts, "expired_negative" if final else "pending")
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


def _slots(facts: _Facts, blank: LabelState) -> tuple[list[SlotLabel], int, int]:
    """The labels, and how many slots were clicked and how many put into the cart."""
    if _untouched(facts.visitor, facts.answer):
        return _blank(facts.answer.items, blank), 0, 0
    slots, clicks, carts = [], 0, 0
    touches, orders = facts.visitor.touches, _orders(facts)
    for position, item_id in enumerate(facts.answer.items, start=1):
        bought = orders.get(item_id)
        if not bought and item_id not in touches:
            slots.append(SlotLabel(item_id=item_id, position=position, state=blank))
            continue
        credits = _touched(facts, item_id)
        if bought:
            credits += _bought(facts, item_id, bought)
        clicks += any(credit.kind in CLICKS for credit in credits)
        carts += any(credit.kind == "add_to_cart" for credit in credits)
        slots.append(_label(item_id, position, credits, blank))
    return slots, clicks, carts


def _orders(facts: _Facts) -> dict[str, list[Order]]:
    """The orders within the answer's window, by the items they hold."""
    from_ms = facts.answer.served_at_ms - facts.windows.skew_ms
    until_ms = min(facts.as_of_ms, facts.answer.served_at_ms + facts.windows.purchase_ms)
    orders: dict[str, list[Order]] = {}
    for order in facts.visitor.orders:
        if from_ms < order.at_ms <= until_ms:
            for item_id in order.lines:
                orders.setdefault(item_id, []).append(order)
    return orders


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


def _touched(facts: _Facts, item_id: str) -> list[Credit]:
    credits = []
    for touch in facts.visitor.touches.get(item_id, ()):
        if touch.at_ms <= facts.as_of_ms:
            window_ms = facts.windows.of_kind(touch.kind)
            how = _how(facts, item_id, (touch.at_ms, touch.token), window_ms)
            if how != "none":
                credits.append(Credit(touch.kind, touch.at_ms, how))
    return credits


def _bought(facts: _Facts, item_id: str, orders: list[Order]) -> list[Credit]:
    """Credits of the orders that hold the item and lie within the window."""
    credits, visitor = [], facts.visitor
    for order in orders:
        line = order.lines[item_id]
        how = _how(facts, item_id, (order.at_ms, line.token), facts.windows.purchase_ms)
        if how != "none":
            back = bool(visitor.refunds) and item_id in refunded(visitor, order, facts.as_of_ms)
            revenue = 0.0 if back else line.revenue
            credits.append(Credit("purchase", order.at_ms, how, revenue, back))
    return credits


def _how(facts: _Facts, item_id: str, named: tuple[int, str | None], window_ms: int) -> Attributed:
    """How an interaction (its time and token) is credited to this answer, if it is."""
    at_ms, token = named
    answer, skew_ms = facts.answer, facts.windows.skew_ms
    if not answer.served_at_ms - skew_ms < at_ms <= answer.served_at_ms + window_ms:
        return "none"
    by_token = facts.visitor.answers.get(token) if token is not None else None
    if by_token is not None and _named(by_token, item_id, at_ms, window_ms, skew_ms):
        return "token" if by_token is answer else "none"
    newest: Answer | None = None
    for other in facts.rivals(item_id):
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
