"""What an event says of its visitor as a whole: consent, and what the visitor was called before.

Changes facts before the event itself is stepped, so that the event meets all of them.
"""

from typing import TypeVar

from core.visitor_facts import (
    MOST_ORDERS,
    MOST_TOUCHES_OF_AN_ITEM,
    Order,
    Refund,
    Touch,
    Visitor,
)
from schemas.events import ShopEvent

Fact = TypeVar("Fact", bound=Touch | Order | Refund)


def note_consent(visitor: Visitor, event: ShopEvent) -> None:
    """Takes in what the event says of training; the newest statement by event time stands.

    >>> from schemas.events import Consent, Searched
    >>> visitor = Visitor()
    >>> no = Consent(training=False)
    >>> event = Searched(event_id="e", event_time_ms=5, visitor_id="v", query="", consent=no)
    >>> note_consent(visitor, event)
    >>> visitor.learns
    False
    """
    consent = event.consent
    if consent is not None and event.event_time_ms >= visitor.consent_ms:
        visitor.learns = consent.training
        visitor.consent_ms = event.event_time_ms


def take_over(visitor: Visitor, former: Visitor, event: ShopEvent) -> None:
    """Puts the facts of an earlier pseudonym into the visitor's; the event names the new session.

    Args:
        visitor: the facts under the new pseudonym, changed in place.
        former: the facts under the earlier one.
        event: the first event under the new key.
    """
    sessions = set(event.formerly.session_ids) if event.formerly is not None else set()
    for item_id, at_ms in former.bought.items():
        visitor.bought[item_id] = min(at_ms, visitor.bought.get(item_id, at_ms))
    for answer in former.answers.values():
        if answer.session_id in sessions:
            answer.session_id = event.session_id
        visitor.answers.setdefault(answer.prediction_id, answer)
    _take_over_facts(visitor, former)
    _renamed_sessions(visitor, sessions, event.session_id)
    for token, at_ms in former.waiting.items():
        visitor.waiting[token] = min(at_ms, visitor.waiting.get(token, at_ms))
    visitor.waiting = {t: ms for t, ms in visitor.waiting.items() if t not in visitor.answers}
    if former.consent_ms > visitor.consent_ms:
        visitor.learns, visitor.consent_ms = former.learns, former.consent_ms


def _take_over_facts(visitor: Visitor, former: Visitor) -> None:
    visitor.orders = _united(visitor.orders, former.orders)[-MOST_ORDERS:]
    visitor.refunds = _united(visitor.refunds, former.refunds)[-MOST_ORDERS:]
    for item_id, touches in former.touches.items():
        both = _united(visitor.touches.get(item_id, []), touches)
        visitor.touches[item_id] = both[-MOST_TOUCHES_OF_AN_ITEM:]


def _renamed_sessions(visitor: Visitor, sessions: set[str], name: str | None) -> None:
    visitor.orders = [
        Order(order.event_id, order.transaction_id, order.at_ms, name, order.lines)
        if order.session_id in sessions
        else order
        for order in visitor.orders
    ]


def _united(mine: list[Fact], theirs: list[Fact]) -> list[Fact]:
    both = {fact.event_id: fact for fact in (*theirs, *mine)}
    return sorted(both.values(), key=lambda fact: (fact.at_ms, fact.event_id))
