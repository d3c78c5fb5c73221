"""A made-up shop's traffic: what a visit writes, in the order in which it arrives. Pure and seeded.

One visit is an answer of ten slots, the list seen, about four items viewed, clicks, carts, searches
and purchases at a shop's rates. Most records arrive within two seconds of their event time; a few
come minutes late, a few events come twice.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from schemas.codec import encode
from schemas.events import (
    CartAdded,
    EventItem,
    ItemListViewed,
    ItemSelected,
    ItemViewed,
    PurchaseMade,
    Searched,
    ShopEvent,
)
from schemas.predictions import Prediction, Slot

START_MS = 1_300_000_000_000
SLOTS = 10
_ITEMS = 4_000
_VISIT_MS = 600_000
_LATE_MS = 600_000
_DELAY_MS = 2_000
_WORDS = ("blue", "mug", "lamp", "red", "cushion", "gift", "garden", "set", "box", "clock")


class Arrival(NamedTuple):
    """One record as it comes: `at_ms` is the shop's clock on arrival, `kind` its topic."""

    at_ms: int
    kind: str
    visitor_id: str
    value: bytes
    is_repeat: bool = False


class Barrier(NamedTuple):
    """Event time up to `event_time_ms` is closed, but for what comes late."""

    number: int
    event_time_ms: int
    final: bool = False


@dataclass(frozen=True)
class Traffic:
    """What the shop is like.

    Attributes:
        visits: how many there are; an event costs about a sixth of one.
        visitors: how many different shoppers make them.
        step_ms: event time from one visit's start to the next.
        late_share: share of records that come up to ten minutes late.
        repeated_share: share of events that come twice.
    """

    visits: int
    visitors: int = 20_000
    step_ms: int = 1_500
    late_share: float = 0.01
    repeated_share: float = 0.005
    seed: int = 7
    start_ms: int = START_MS

    @property
    def end_ms(self) -> int:
        """Event time after which nothing happens or arrives."""
        return self.start_ms + self.visits * self.step_ms + _VISIT_MS + _LATE_MS + _DELAY_MS


def arrivals(traffic: Traffic, *, answers: bool) -> Iterator[Arrival]:
    """Every record in order of arrival; without `answers` the events alone.

    >>> found = list(arrivals(Traffic(visits=50), answers=True))
    >>> sum(each.kind == "predictions" for each in found)
    50
    >>> found == list(arrivals(Traffic(visits=50), answers=True))
    True
    """
    chance = random.Random(traffic.seed)
    waiting: list[tuple[int, int, Arrival]] = []
    count = 0
    for visit in range(traffic.visits):
        began_ms = traffic.start_ms + visit * traffic.step_ms
        while waiting and waiting[0][0] < began_ms:
            yield heapq.heappop(waiting)[2]
        for arrival in _delayed(_visit(traffic, visit, began_ms, chance), traffic, chance):
            if answers or arrival.kind == "events":
                count += 1
                heapq.heappush(waiting, (arrival.at_ms, count, arrival))
    while waiting:
        yield heapq.heappop(waiting)[2]


def with_barriers(
    found: Iterator[Arrival], every_ms: int, end_ms: int
) -> Iterator[Arrival | Barrier]:
    """The same with a barrier every so often, and a final one that leaves nothing pending."""
    number, due_ms = 0, None
    for arrival in found:
        due_ms = arrival.at_ms + every_ms if due_ms is None else due_ms
        while arrival.at_ms >= due_ms:
            yield Barrier(number, due_ms - _DELAY_MS)
            number, due_ms = number + 1, due_ms + every_ms
        yield arrival
    yield Barrier(number, end_ms, True)


def _delayed(
    made: list[ShopEvent | Prediction], traffic: Traffic, chance: random.Random
) -> Iterator[Arrival]:
    for record in made:
        if isinstance(record, Prediction):
            kind, at_ms = "predictions", record.served_at_ms
        else:
            kind, at_ms = "events", record.event_time_ms
        late = chance.random() < traffic.late_share
        at_ms += int(chance.random() * (_LATE_MS if late else _DELAY_MS))
        value = encode(record)
        yield Arrival(at_ms, kind, record.visitor_id, value)
        if kind == "events" and chance.random() < traffic.repeated_share:
            again_ms = at_ms + int(chance.random() * _DELAY_MS)
            yield Arrival(again_ms, kind, record.visitor_id, value, True)


def _visit(
    traffic: Traffic, number: int, began_ms: int, chance: random.Random
) -> list[ShopEvent | Prediction]:
    """One visit's records in order of event time, the answer first."""
    visitor = f"v{int(chance.random() * traffic.visitors):07d}"
    token = f"{number:08x}-5eed-7000-8000-{number:012x}"
    items = [_item(chance) for _ in range(SLOTS)]
    answer = _answer(token, visitor, began_ms, items)
    names = _names(chance)
    moments = sorted(began_ms + 1_000 + int(chance.random() * _VISIT_MS) for _ in names)
    listed = ItemListViewed(
        event_id=f"{token[:30]}{0:06x}",
        event_time_ms=began_ms + 200,
        visitor_id=visitor,
        session_id=answer.session_id,
        surface="home",
        prediction_id=token,
        items=[EventItem(item_id=item) for item in items],
    )
    events = [
        _event(name, (token, i, at_ms), answer, chance)
        for i, (name, at_ms) in enumerate(zip(names, moments, strict=True), 1)
    ]
    return [answer, listed, *events]


def _names(chance: random.Random) -> list[str]:
    views = 2 + int(chance.random() * 5)
    rates = (("select_item", 0.5), ("add_to_cart", 0.2), ("purchase", 0.1), ("search", 0.3))
    return ["view_item"] * views + [name for name, rate in rates if chance.random() < rate]


def _item(chance: random.Random) -> str:
    return f"i{int(_ITEMS * chance.random() ** 2):05d}"


def _answer(token: str, visitor: str, at_ms: int, items: list[str]) -> Prediction:
    return Prediction(
        prediction_id=token,
        request_id=f"r{token[1:]}",
        visitor_id=visitor,
        task="recommend",
        surface="home",
        served_at_ms=at_ms,
        policy="loop",
        arm="champion",
        model_version="0190a8b0-bench",
        weights_version="w1",
        session_id=f"s{token[:8]}",
        latency_ms=4.2,
        slots=[
            Slot(item_id=item, position=i, score=2.0 - i / 8, source="own")
            for i, item in enumerate(items, 1)
        ],
    )


def _event(
    name: str, place: tuple[str, int, int], answer: Prediction, chance: random.Random
) -> ShopEvent:
    token, i, at_ms = place
    head: dict[str, Any] = {
        "event_id": f"{token[:30]}{i:06x}",
        "event_time_ms": at_ms,
        "visitor_id": answer.visitor_id,
        "session_id": answer.session_id,
    }
    if name == "search":
        return Searched(**head, query=f"{chance.choice(_WORDS)} {chance.choice(_WORDS)}")
    shown = answer.slots[int(chance.random() * SLOTS)].item_id
    if name == "select_item":
        items = [EventItem(item_id=shown, prediction_id=token)]
        return ItemSelected(**head, surface="home", prediction_id=token, items=items)
    item = shown if chance.random() < 0.3 else _item(chance)
    if name == "view_item":
        return ItemViewed(**head, items=[EventItem(item_id=item)])
    items = [EventItem(item_id=item, quantity=1 + int(3 * chance.random()), price=4.25)]
    if name == "add_to_cart":
        return CartAdded(**head, items=items)
    total = 4.25 * items[0].quantity
    return PurchaseMade(
        **head, transaction_id=f"t{token[:8]}", items=items, value=total, currency="GBP"
    )
