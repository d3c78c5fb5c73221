"""Drift made on purpose: what a drill changes in a copy of the traffic, by kind and strength.

Random generators are passed in, so a drill repeated with its seed changes the same records.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from schemas.metrics import DriftKind
from schemas.outcomes import BasketSeen, JudgedList

Seen = JudgedList | BasketSeen
NEW_ITEMS = 100

CHANGES: dict[DriftKind, str] = {
    "concept": "that share of hits become misses, and their clicks vanish",
    "label": "that share of baskets vanish, as when a tracker fails",
    "input": "that share of bought items are ones that nobody had bought",
}


def changed(record: Seen, kind: DriftKind, strength: float, random: np.random.Generator) -> Seen:
    """The record as it would have been under the drift; a vanished basket has no items.

    >>> order = BasketSeen(event_id="e", event_time_ms=1, visitor_id="v", task="t",
    ...                    surface="home", item_ids=["a", "b"])
    >>> changed(order, "label", 1.0, np.random.default_rng(1)).item_ids
    []
    >>> changed(order, "concept", 1.0, np.random.default_rng(1)) is order
    True
    """
    return _OF_KIND[kind](record, strength, random)


def _concept(record: Seen, strength: float, random: np.random.Generator) -> Seen:
    if not isinstance(record, JudgedList) or random.random() >= strength:
        return record
    bought = {*record.basket, *record.new_basket}
    items = [f"drill-list-{i}" if x in bought else x for i, x in enumerate(record.item_ids)]
    return msgspec.structs.replace(record, item_ids=items, labels=[0] * len(items), clicks=0)


def _label(record: Seen, strength: float, random: np.random.Generator) -> Seen:
    if random.random() >= strength:
        return record
    if isinstance(record, BasketSeen):
        return msgspec.structs.replace(record, item_ids=[])
    none = [0] * len(record.labels)
    return msgspec.structs.replace(record, basket=[], new_basket=[], labels=none)


def _input(record: Seen, strength: float, random: np.random.Generator) -> Seen:
    if isinstance(record, BasketSeen):
        return msgspec.structs.replace(record, item_ids=_others(record.item_ids, strength, random))
    others = dict(zip(record.basket, _others(record.basket, strength, random), strict=True))
    return msgspec.structs.replace(
        record,
        basket=list(others.values()),
        new_basket=[others.get(item, item) for item in record.new_basket],
    )


def _others(items: list[str], strength: float, random: np.random.Generator) -> list[str]:
    drawn = random.random(len(items)) < strength
    numbers = random.integers(NEW_ITEMS, size=len(items))
    return [
        f"drill-item-{number}" if other else item
        for item, other, number in zip(items, drawn, numbers, strict=True)
    ]


_OF_KIND: dict[DriftKind, Callable[[Seen, float, np.random.Generator], Seen]] = {
    "concept": _concept,
    "label": _label,
    "input": _input,
}
