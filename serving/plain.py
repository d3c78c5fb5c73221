"""Lists that need no model: what is popular, or the surface's own, by the shop's rules."""

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np

from core.baselines import also_bought, own_items, popular_7d
from core.candidates import (
    BUY_AGAIN,
    COOCCURRENCE,
    OWN,
    POPULARITY,
    SIMILAR,
    Candidates,
    Ground,
)
from core.catalogue import Rows
from core.features import FEATURE_NAMES
from core.ports import ShopRules
from core.ranking import Ranked, source_of
from schemas.predictions import Slot

FILL_DAYS = 28
POOL = 100
"""How many items beyond the list rules may choose among."""

PLAIN = {BUY_AGAIN: (own_items, OWN), SIMILAR: (also_bought, COOCCURRENCE)}
"""What stands in for the loop on surfaces where what is popular would be beside the point."""


def plain_slots(ground: Ground, rules: ShopRules | None) -> list[Slot]:
    """What is listed without a model; the score is minus the place."""
    listed, source = PLAIN.get(ground.ask.surface, (popular_7d, POPULARITY))
    if rules is None:
        names = filled(ground, listed(ground))
        return _bare([Slot(item_id=name, position=0, score=0.0) for name in names], source)
    k = ground.ask.k
    wide = replace(ground, ask=replace(ground.ask, k=k + POOL))
    names = filled(wide, listed(wide))
    catalogue = ground.state.catalogue
    brought = [row for rows in rules.brought(ground).values() for row in rows.tolist()]
    known = [name for name in names if name in catalogue.row_of]
    known = list(dict.fromkeys([*known, *(catalogue.item_ids[row] for row in brought)]))
    order = _by_rank(known, catalogue.rows(known), source)
    slots = rules.reordered(ground, order).best(k)
    unheard = [name for name in names if name not in catalogue.row_of][: k - len(slots)]
    return _bare([*slots, *(Slot(item_id=name, position=0, score=0.0) for name in unheard)], source)


def filled(ground: Ground, item_ids: Sequence[str]) -> list[str]:
    """The list up to k: what was popular in four weeks, then the catalogue in its own order.

    Of items to rank again, those that the shop never told of come last, unless filters or rules
    restrict the list.
    """
    state, ask, allowed = ground.state, ground.ask, ground.allowed
    popular = state.popularity.ranked(ask.now_ms, FILL_DAYS)
    popular = popular[allowed[popular]][: 2 * ask.k]
    rows = np.concatenate([popular, allowed.nonzero()[0]])
    names = [state.catalogue.item_ids[row] for row in rows[: 4 * ask.k].tolist()]
    return list(dict.fromkeys([*item_ids, *names, *_unheard_of(ground)]))[: ask.k]


def _by_rank(names: list[str], rows: Rows, source: int) -> Ranked:
    """Names in order as candidates whose odds fall with their rank: the second has half the odds.

    So a boost by 2 moves an item to half its rank.
    """
    n = len(names)
    features = np.zeros((n, len(FEATURE_NAMES)), np.float32)
    found = Candidates(names, features, np.full(n, source, np.uint8), rows)
    return Ranked(found, -np.log(np.arange(1.0, n + 1.0)), list(range(n)))


def _bare(slots: list[Slot], source: int) -> list[Slot]:
    """As logged: no features, which nobody computed."""
    return [
        msgspec.structs.replace(
            slot,
            position=place,
            score=-float(place),
            source=slot.source or source_of(source),
            features=[],
        )
        for place, slot in enumerate(slots, start=1)
    ]


def _unheard_of(ground: Ground) -> list[str]:
    ask, row_of = ground.ask, ground.state.catalogue.row_of
    if ground.is_restricted:
        return []
    return [item for item in ask.candidates if item not in row_of and item not in ask.exclude]
