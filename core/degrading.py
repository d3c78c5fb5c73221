"""What of an answer is left out while something cannot be relied on; what else there is stays.

Each circuit speaks of one thing, and only what is made of that thing goes: a stale state takes the
shopper's own items and what a sequence model makes of them, a failing, slow or old model takes its
scores, old weights take the learned ones. Co-occurrence, relations, popularity, rules and filters
always stay. Knows no clock and no circuit's state: the names of the open ones are given.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from schemas.predictions import Arm

NO_MODEL, MODEL_FAILED = "no_model", "model_failed"
STALE_STATE, OLD_MODEL, OLD_WEIGHTS = "stale_state", "old_model", "old_weights"
SLOW_MODEL = "slow_model"
CIRCUITS = (STALE_STATE, OLD_MODEL, OLD_WEIGHTS, MODEL_FAILED, SLOW_MODEL)
"""In the order in which `degraded` names the first of several."""

_OF_THE_CHAMPION = frozenset({OLD_MODEL, MODEL_FAILED, SLOW_MODEL})
"""A canary is judged by what its visitors get: it is spared neither and suffers from neither."""


@dataclass(frozen=True)
class Usable:
    """What may have a say in one answer, and the reason why something may not.

    `history` is what the state knows of the shopper's newest items, `model` a version's scores,
    `shipped` the ranker weights in it, `live` those learned since.
    """

    reason: str | None = None
    history: bool = True
    model: bool = True
    shipped: bool = True
    live: bool = True


WHOLE = Usable()


def usable(circuits: Collection[str], arm: Arm, *, from_state: bool) -> Usable:
    """What remains while these circuits are open.

    Args:
        circuits: names of the open ones.
        arm: whose visitor asks.
        from_state: whether the history is the state's, not brought by the request.

    >>> usable([OLD_WEIGHTS], "champion", from_state=True)
    Usable(reason='old_weights', history=True, model=True, shipped=True, live=False)
    >>> usable([MODEL_FAILED], "canary", from_state=True) == WHOLE
    True
    """
    of_others = _OF_THE_CHAMPION if arm != "champion" else frozenset[str]()
    said = [name for name in CIRCUITS if name in circuits and name not in of_others]
    if not said:
        return WHOLE
    stale = STALE_STATE in said and from_state
    return Usable(
        reason=said[0],
        history=not stale,
        model=not stale and not _OF_THE_CHAMPION & {*said},
        shipped=OLD_MODEL not in said,
        live=OLD_WEIGHTS not in said,
    )
