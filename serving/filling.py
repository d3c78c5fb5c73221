"""What makes a list as long as was asked for when its sources bring too little."""

from collections.abc import Sequence

import numpy as np

from core.candidates import Ground

FILL_DAYS = 28


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


def _unheard_of(ground: Ground) -> list[str]:
    ask, row_of = ground.ask, ground.state.catalogue.row_of
    if ground.is_restricted:
        return []
    return [item for item in ask.candidates if item not in row_of and item not in ask.exclude]
