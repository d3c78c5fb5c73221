"""How a history is cut into barriers, and which of its events are asked before.

Knows nothing of where the history is kept or how records travel. Everything follows from the
entries and the arguments, so the same history gives the same requests with the same ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeGuard

import msgspec

from core.shop_state import KIND_WEIGHT
from core.surfaces import BUY_AGAIN
from schemas.events import PurchaseMade, ShopEvent
from schemas.ids import derived_id
from schemas.items import Item

MINUTE_MS = 60_000
ASK_BEFORE_MS = 1_000
SHOWN_AFTER_MS = 1
SHORTEST_BARRIER_MS = 5 * MINUTE_MS
BUY_AGAIN_IN = 3
"""One visit in so many opens the list of what to buy again."""
# An answer, its impression and the event must fit between a barrier's start and the event.
_GAP_MS = 3


class Happened(msgspec.Struct, frozen=True):
    """A valid event; `raw` is the line it came from, sent as it is."""

    at_ms: int
    event: ShopEvent
    raw: bytes | None = None


class Broken(msgspec.Struct, frozen=True):
    """A record that is no valid event: sent as it is, for intake to refuse."""

    at_ms: int
    raw: bytes
    key: bytes


class Offered(msgspec.Struct, frozen=True):
    """The shop says something about an item."""

    at_ms: int
    item: Item


class LeftOut(msgspec.Struct, frozen=True):
    """Lines of the shop's own log that a listed rule keeps out."""

    at_ms: int
    rule: str
    lines: int = 1


Entry = Happened | Broken | Offered | LeftOut


class Ask(msgspec.Struct, frozen=True):
    """A visitor asks for lists at `as_of_ms`, just before an event: request ids by surface."""

    visitor_id: str
    as_of_ms: int
    event_id: str
    session_id: str | None
    request_ids: dict[str, str]


class Barrier(msgspec.Struct, frozen=True):
    """A span of event time, after `start_ms` and up to `end_ms`, and what happens in it."""

    number: int
    start_ms: int
    end_ms: int
    entries: list[Entry]
    asks: list[Ask]


class Planner:
    """Cuts entries in event-time order into barriers and says before which events to ask.

    Asked is before the first event of a kind in `ask_before` of each session whose visitor had an
    event in an earlier barrier that says something of their taste (so that serving knows them; a
    refund does not). Without sessions a visitor
    asks once a barrier. A barrier ends early when a visitor met in it would ask again. For
    `buy_again` asks only who has bought in an earlier barrier, in one visit of `BUY_AGAIN_IN`.
    """

    def __init__(
        self,
        surfaces: tuple[str, ...],
        ask_before: frozenset[str] = frozenset({"purchase"}),
        length_ms: int = 120 * MINUTE_MS,
    ) -> None:
        self._surfaces = surfaces
        self._ask_before = ask_before
        self._length_ms = length_ms
        self._shortest_ms = min(SHORTEST_BARRIER_MS, length_ms)
        self._known: set[str] = set()
        self._met: set[str] = set()
        self._buyers: set[str] = set()
        self._bought_here: set[str] = set()
        self._asked: dict[str, str] = {}

    def learn(self, entry: Entry) -> None:
        """Takes in an entry before which nothing is asked."""
        if _tells(entry):
            self._known.add(entry.event.visitor_id)
        if _is_purchase(entry):
            self._buyers.add(entry.event.visitor_id)

    def barriers(self, entries: Iterable[Entry], start_ms: int) -> Iterator[Barrier]:
        """The barriers after `start_ms`; spans in which nothing happens get none."""
        number, begin_ms, end_ms = 0, start_ms, -1
        held: list[Entry] = []
        for entry in entries:
            if held and entry.at_ms > held[-1].at_ms + _GAP_MS:
                cut_ms = self._cut_ms(held, entry, end_ms)
                if cut_ms is not None:
                    yield self._close(number, begin_ms, cut_ms, held)
                    number, begin_ms, held = number + 1, cut_ms, []
            if not held:
                end_ms = (entry.at_ms // self._length_ms + 1) * self._length_ms - 1
            held.append(entry)
            if _tells(entry):
                self._met.add(entry.event.visitor_id)
            if _is_purchase(entry):
                self._bought_here.add(entry.event.visitor_id)
        if held:
            yield self._close(number, begin_ms, max(end_ms, held[-1].at_ms), held)

    def _cut_ms(self, held: list[Entry], entry: Entry, end_ms: int) -> int | None:
        """Where the held entries end when `entry` does not belong to them."""
        last_ms = held[-1].at_ms
        if entry.at_ms > end_ms:
            return min(max(end_ms, last_ms), entry.at_ms - _GAP_MS)
        if entry.at_ms - held[0].at_ms < self._shortest_ms or not isinstance(entry, Happened):
            return None
        event = entry.event
        met_here = event.visitor_id in self._met and event.visitor_id not in self._known
        return last_ms if met_here and self._asks_before(event) else None

    def _asks_before(self, event: ShopEvent) -> bool:
        name = event.__struct_config__.tag
        if name not in self._ask_before:
            return False
        return event.session_id is None or self._asked.get(event.visitor_id) != event.session_id

    def _close(self, number: int, begin_ms: int, end_ms: int, held: list[Entry]) -> Barrier:
        asks = list(self._asks(held, begin_ms))
        self._known |= self._met
        self._buyers |= self._bought_here
        self._met, self._bought_here = set(), set()
        return Barrier(number, begin_ms, end_ms, held, asks)

    def _asks(self, held: list[Entry], begin_ms: int) -> Iterator[Ask]:
        without_session: set[str] = set()
        for entry in held:
            if not isinstance(entry, Happened):
                continue
            event = entry.event
            if event.visitor_id not in self._known or not self._asks_before(event):
                continue
            if event.session_id is not None:
                self._asked[event.visitor_id] = event.session_id
            elif event.visitor_id in without_session:
                continue
            without_session.add(event.visitor_id)
            yield self._ask(event, max(event.event_time_ms - ASK_BEFORE_MS, begin_ms + 1))

    def _ask(self, event: ShopEvent, as_of_ms: int) -> Ask:
        return Ask(
            visitor_id=event.visitor_id,
            as_of_ms=as_of_ms,
            event_id=event.event_id,
            session_id=event.session_id,
            request_ids={
                surface: derived_id("request", event.event_id, surface)
                for surface in self._surfaces
                if surface != BUY_AGAIN or self._buys_again(event)
            },
        )

    def _buys_again(self, event: ShopEvent) -> bool:
        """Whether this visit opens the list of what to buy again, drawn by the event's id."""
        drawn = int(derived_id("buy again", event.event_id)[:8], 16)
        return event.visitor_id in self._buyers and drawn % BUY_AGAIN_IN == 0


def _tells(entry: Entry) -> TypeGuard[Happened]:
    """Whether the shop's state learns something of the visitor from this entry."""
    return isinstance(entry, Happened) and str(entry.event.__struct_config__.tag) in KIND_WEIGHT


def _is_purchase(entry: Entry) -> TypeGuard[Happened]:
    return isinstance(entry, Happened) and isinstance(entry.event, PurchaseMade)
