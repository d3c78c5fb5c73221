"""Exploring answers put to the gate: would the candidate's own source have sold more than before?

Answers from the days that the candidate was not fitted on; both models answer from the history that
was logged when the answer was given. What the figures must be is for `core/gate.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.gate import Explored, Floats, off_policy
from core.off_policy import ESS_FLOOR, importance_weights
from core.surfaces import DISCOVER
from schemas.models import GateCheck
from trainer.recommend.checks import CANDIDATE, CHAMPION
from trainer.recommend.data import ExploredSlot
from trainer.recommend.evaluate import Scorer, source_list

BATCH = 256
NAME = "off_policy_source_vs_champion"


def exploration_check(
    explored: Sequence[ExploredSlot], models: Mapping[str, Scorer], seed: int
) -> GateCheck:
    """The off-policy check; what cannot be judged passes and says so."""
    if CHAMPION not in models:
        return _not_judged("no champion to compare with", len(explored))
    if not explored:
        return _not_judged(f"ESS 0 < {ESS_FLOOR:.0f}", 0)
    rewards = np.array([float(one.bought) for one in explored])
    outcome = Explored(rewards, [one.visitor_id for one in explored])
    candidate, champion = (_weights(explored, models[name]) for name in (CANDIDATE, CHAMPION))
    return off_policy(NAME, candidate, champion, outcome, seed)


def _weights(explored: Sequence[ExploredSlot], scorer: Scorer) -> Floats:
    listed: list[bool] = []
    for start in range(0, len(explored), BATCH):
        some = explored[start : start + BATCH]
        for one, scores in zip(some, scorer([each.history for each in some]), strict=True):
            without = frozenset(one.history if one.surface == DISCOVER else ())
            listed.append(one.item_id in source_list(scores, without))
    return importance_weights(
        np.array(listed, np.bool_), np.array([one.propensity for one in explored])
    )


def _not_judged(why: str, n: int) -> GateCheck:
    return GateCheck(
        name=NAME, passed=True, value=0.0, threshold=ESS_FLOOR, n=n, detail=f"not judged: {why}"
    )
