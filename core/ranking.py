"""From candidates and weights to an ordered answer; the score here is the score that is served."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.candidates import SOURCE_NAMES, Candidates
from core.features import FEATURE_NAMES, POSITION, position_feature

EXPLORED_REACH = 20
LOGGED_DECIMALS = 6


@dataclass(frozen=True)
class RankerWeights:
    """A linear ranker: one coefficient per named feature, a bias, and where it came from."""

    names: tuple[str, ...]
    coef: NDArray[np.float64]
    bias: float
    version: str


class RankedSlot(NamedTuple):
    """One place of an answer, with the features to log; `position` counts from 1."""

    item_id: str
    position: int
    score: float
    source: str
    propensity: float
    features: Sequence[float]


def scores(candidates: Candidates, weights: RankerWeights) -> NDArray[np.float64]:
    """Log-odds of each candidate as if shown in the first place, shape (n,)."""
    if weights.names != FEATURE_NAMES:
        raise ValueError(f"weights {weights.version} name other features than the candidates have")
    return candidates.features.astype(np.float64) @ weights.coef + weights.bias


def rank(candidates: Candidates, weights: RankerWeights, k: int) -> list[RankedSlot]:
    """The k best candidates, best first; equal scores go by item id."""
    values = scores(candidates, weights)
    return _slots(candidates, values, _order(candidates, values)[:k], range(1, k + 1))


def explore(
    candidates: Candidates, weights: RankerWeights, k: int, random: np.random.Generator
) -> list[RankedSlot]:
    """As `rank`, with the last place drawn evenly from the next candidates, and its propensity."""
    values = scores(candidates, weights)
    order = _order(candidates, values)
    reach = order[k - 1 : k - 1 + EXPLORED_REACH]
    if not reach:
        return _slots(candidates, values, order, range(1, k))
    drawn = reach[int(random.integers(len(reach)))]
    slots = _slots(candidates, values, [*order[: k - 1], drawn], range(1, k + 1))
    slots[-1] = slots[-1]._replace(propensity=1.0 / len(reach))
    return slots


def considered(
    candidates: Candidates, weights: RankerWeights, k: int, limit: int = 20
) -> list[RankedSlot]:
    """Candidates that were ranked but not shown, evenly spread over the ranks below k."""
    values = scores(candidates, weights)
    rest = _order(candidates, values)[k:]
    picked: Sequence[int] = range(len(rest))
    if len(rest) > limit:
        picked = np.linspace(0, len(rest) - 1, limit).astype(np.int64).tolist()
    positions = [k + 1 + i for i in picked]
    return _slots(candidates, values, [rest[i] for i in picked], positions)


@cache
def source_of(bits: int) -> str:
    """Names of the sources that brought a candidate, joined by a plus sign.

    >>> source_of(5)
    'own+popularity'
    """
    return "+".join(name for bit, name in SOURCE_NAMES.items() if bits & bit)


def _order(candidates: Candidates, values: NDArray[np.float64]) -> list[int]:
    """Indices by falling score; equal scores by item id, whatever order the catalogue has."""
    order = np.argsort(-values, kind="stable")
    best: list[int] = order.tolist()
    if (np.diff(values[order]) == 0).any():
        best.sort(key=lambda i: (-values[i], candidates.item_ids[i]))
    return best


def _slots(
    candidates: Candidates,
    values: NDArray[np.float64],
    indices: list[int],
    positions: Iterable[int],
) -> list[RankedSlot]:
    """The candidates at these indices in these places; features as logged, to six decimals."""
    snapshots = candidates.features[indices].astype(np.float64).round(LOGGED_DECIMALS).tolist()
    sources = candidates.sources[indices].tolist()
    slots = []
    for index, position, source, snapshot in zip(
        indices, positions, sources, snapshots, strict=False
    ):
        snapshot[POSITION] = position_feature(position)
        name, score = candidates.item_ids[index], float(values[index])
        slots.append(RankedSlot(name, position, score, source_of(source), 1.0, snapshot))
    return slots
