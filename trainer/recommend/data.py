"""Training data as values: cleaned interactions in event-time order, sessions, and the catalogue.

It knows nothing of where they were read (`trainer/recommend/reading.py`) and nothing of networks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from core.shop_state import KIND_WEIGHT
from core.visitor_history import SESSION_GAP_MS
from trainer.recommend.windows import VisitorSessions

BOT_EVENTS, BOT_WITHIN_MS = 300, 600_000
"""Whoever acts every two seconds for ten minutes without a pause is no person."""
MAX_SESSION_ITEMS = 100
"""A session with more distinct items is a wholesale list: it counts, but nothing is learned."""

LessonKind = Literal["explored", "passed", "corrected"]


@dataclass(frozen=True, slots=True)
class Interaction:
    """One event of one visitor with some items; `kind` is its event name."""

    at_ms: int
    event_id: str
    kind: str
    visitor_id: str
    item_ids: tuple[str, ...]
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """What the shop said about an item at a time."""

    item_id: str
    title: str
    price: float | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class ExploredSlot:
    """The one place of an exploring answer that was drawn by chance, and whether its item sold."""

    served_at_ms: int
    visitor_id: str
    surface: str
    history: tuple[str, ...]
    item_id: str
    propensity: float
    bought: bool
    closed_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Lesson:
    """Whether an item was right after a history; `weight` counts within its kind alone."""

    kind: LessonKind
    at_ms: int
    history: tuple[str, ...]
    item_id: str
    good: bool
    weight: float = 1.0


@dataclass(frozen=True)
class ShopData:
    """Everything one training may see, up to `until_ms` in event time.

    `not_learned` counts events, by kind, that nothing is learned from: cancellations among them.
    """

    interactions: list[Interaction]
    items: list[CatalogueRow]
    until_ms: int
    rows: int
    dropped: dict[str, int] = field(default_factory=dict)
    explored: list[ExploredSlot] = field(default_factory=list)
    not_learned: dict[str, int] = field(default_factory=dict)
    lessons: list[Lesson] = field(default_factory=list)

    @property
    def from_ms(self) -> int:
        """Event time of the first interaction."""
        return self.interactions[0].at_ms if self.interactions else self.until_ms


def clean(
    found: Iterable[Interaction], items: list[CatalogueRow], until_ms: int, rows: int
) -> ShopData:
    """Orders by (event time, event id) and leaves out what teaches nothing, with counts.

    Left out: kinds that count nothing, repeated event ids, events after `until_ms`, events without
    items, and all events of visitors who act faster than people do. An item named twice in one
    event counts once.
    """
    kept: list[Interaction] = []
    dropped = {"kind": 0, "repeated": 0, "late": 0, "empty": 0, "bot": 0}
    seen: set[str] = set()
    for one in sorted(found, key=lambda i: (i.at_ms, i.event_id)):
        reason = _reason_to_drop(one, seen, until_ms)
        if reason is not None:
            dropped[reason] += 1
            continue
        seen.add(one.event_id)
        kept.append(one)
    machines = bots(kept)
    if machines:
        people = [one for one in kept if one.visitor_id not in machines]
        dropped["bot"], kept = len(kept) - len(people), people
    return ShopData(kept, items, until_ms, rows, {k: n for k, n in dropped.items() if n})


def bots(interactions: Sequence[Interaction]) -> frozenset[str]:
    """Visitors with `BOT_EVENTS` within `BOT_WITHIN_MS`; the interactions are in order of time."""
    times: dict[str, list[int]] = {}
    for one in interactions:
        times.setdefault(one.visitor_id, []).append(one.at_ms)
    return frozenset(
        visitor
        for visitor, at in times.items()
        if any(late - at[i] <= BOT_WITHIN_MS for i, late in enumerate(at[BOT_EVENTS - 1 :]))
    )


def _reason_to_drop(one: Interaction, seen: set[str], until_ms: int) -> str | None:
    if KIND_WEIGHT.get(one.kind, 0.0) == 0.0:
        return "kind"
    if one.event_id in seen:
        return "repeated"
    if one.at_ms > until_ms:
        return "late"
    return None if one.item_ids else "empty"


def sessions_of(interactions: Sequence[Interaction]) -> dict[str, list[list[Interaction]]]:
    """Each visitor's sessions, oldest first.

    Events belong together when they name the same session, or, where one of them names none, when
    at most ten minutes lie between neighbours.
    """
    chains: dict[str, list[list[Interaction]]] = {}
    for one in interactions:
        mine = chains.setdefault(one.visitor_id, [])
        if mine and continues(mine[-1][-1], one):
            mine[-1].append(one)
        else:
            mine.append([one])
    return chains


def continues(last: Interaction, one: Interaction) -> bool:
    """Whether the second event belongs to the same session as the first, its predecessor."""
    if last.session_id and one.session_id:
        return last.session_id == one.session_id
    return one.at_ms - last.at_ms <= SESSION_GAP_MS


def training_sessions(
    interactions: Sequence[Interaction], fresh_after_ms: int = -1
) -> list[VisitorSessions]:
    """Visitors with something to learn from; what lies at or before `fresh_after_ms` is context."""
    visitors = []
    for chain in sessions_of(interactions).values():
        if chain[-1][0].at_ms <= fresh_after_ms:
            continue
        kept = [(session[0].at_ms, _items(session)) for session in chain]
        kept = [(at, items) for at, items in kept if len(items) <= MAX_SESSION_ITEMS]
        old = sum(at <= fresh_after_ms for at, _ in kept)
        if old < len(kept):
            visitors.append(VisitorSessions(tuple(items for _, items in kept), fresh_from=old))
    return visitors


def _items(session: Sequence[Interaction]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for one in session for item in one.item_ids))


def vocabulary_of(data: ShopData) -> tuple[list[str], list[str]]:
    """Item ids in sorted order and their titles: all that were interacted with or are listed."""
    titles = {row.item_id: row.title for row in data.items}
    met = {item for one in data.interactions for item in one.item_ids}
    item_ids = sorted(met | titles.keys())
    return item_ids, [titles.get(item, "") for item in item_ids]
