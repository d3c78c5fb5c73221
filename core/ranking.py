"""From candidates and weights to an ordered answer; the score here is the score that is served."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.candidates import SOURCE_NAMES, Candidates
from core.features import FEATURE_NAMES, POSITION, position_feature

EXPLORED_REACH = 20


@dataclass(frozen=True)
class RankerWeights:
    """A linear ranker: one coefficient per named feature, a bias, and where it came from."""

    names: tuple[str, ...]
    coef: NDArray[np.float64]
    bias: float
    version: str


@dataclass(frozen=True)
class RankedSlot:
    """One place of an answer, with the features to log; `position` counts from 1."""

    item_id: str
    position: int
    score: float
    source: str
    propensity: float
    features: tuple[float, ...]


def scores(candidates: Candidates, weights: RankerWeights) -> NDArray[np.float64]:
    """Log-odds of each candidate as if shown in the first place, shape (n,)."""
    if weights.names != FEATURE_NAMES:
        raise ValueError(f"weights {weights.version} name other features than the candidates have")
    return candidates.features.astype(np.float64) @ weights.coef + weights.bias


def rank(candidates: Candidates, weights: RankerWeights, k: int) -> list[RankedSlot]:
    """The k best candidates, best first; equal scores go by item id."""
    values = scores(candidates, weights)
    return [
        _slot(candidates, values, index, position)
        for position, index in enumerate(_order(candidates, values)[:k], start=1)
    ]


def explore(
    candidates: Candidates, weights: RankerWeights, k: int, random: np.random.Generator
) -> list[RankedSlot]:
    """As `rank`, with the last place drawn evenly from the next candidates, and its propensity."""
    values = scores(candidates, weights)
    order = _order(candidates, values)
    reach = order[k - 1 : k - 1 + EXPLORED_REACH]
    slots = [_slot(candidates, values, i, p) for p, i in enumerate(order[: k - 1], start=1)]
    if reach:
        drawn = reach[int(random.integers(len(reach)))]
        slots.append(_slot(candidates, values, drawn, k, 1.0 / len(reach)))
    return slots


def considered(
    candidates: Candidates, weights: RankerWeights, k: int, limit: int = 20
) -> list[RankedSlot]:
    """Candidates that were ranked but not shown, evenly spread over the ranks below k."""
    values = scores(candidates, weights)
    rest = _order(candidates, values)[k:]
    if len(rest) > limit:
        picked = np.linspace(0, len(rest) - 1, limit).astype(np.int64)
        positions = [(k + 1 + int(i), rest[int(i)]) for i in picked]
    else:
        positions = [(k + 1 + i, index) for i, index in enumerate(rest)]
    return [_slot(candidates, values, index, position) for position, index in positions]


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


def _slot(
    candidates: Candidates,
    values: NDArray[np.float64],
    index: int,
    position: int,
    propensity: float = 1.0,
) -> RankedSlot:
    snapshot = candidates.features[index].tolist()
    snapshot[POSITION] = position_feature(position)
    return RankedSlot(
        item_id=candidates.item_ids[index],
        position=position,
        score=float(values[index]),
        source=source_of(int(candidates.sources[index])),
        propensity=propensity,
        features=tuple(snapshot),
    )
