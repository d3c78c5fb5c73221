"""From candidates and weights to an ordered answer; the score here is the score that is served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.arranging import REACH
from core.candidates import PINNED, SOURCE_NAMES, Candidates
from core.features import FEATURE_NAMES, POSITION, position_feature
from schemas.predictions import Slot

LOGGED_DECIMALS = 6


@dataclass(frozen=True)
class RankerWeights:
    """A linear ranker: one coefficient per named feature, a bias, and where it came from."""

    names: tuple[str, ...]
    coef: NDArray[np.float64]
    bias: float
    version: str


@dataclass(frozen=True)
class Ranked:
    """Candidates in order: the score of each, shape (n,), and indices, best first.

    `pinned` ones stand where they do by a rule. `drawn` is the place, from 0, that an exploring
    answer draws and what from; None for the last one and the next candidates.
    """

    candidates: Candidates
    scores: NDArray[np.float64]
    order: list[int]
    weights_version: str = ""
    pinned: frozenset[int] = frozenset()
    drawn: tuple[int, Sequence[int]] | None = None

    def best(self, k: int) -> list[Slot]:
        """The k best, best first."""
        return self._slots(self.order[:k], range(1, k + 1))

    def scored(self, k: int) -> dict[str, float]:
        """Item ids of the k best with their scores, best first."""
        item_ids, scores = self.candidates.item_ids, self.scores
        return {item_ids[i]: float(scores[i]) for i in self.order[:k]}

    def choices(self, k: int) -> tuple[int, Sequence[int]]:
        """The place, from 0, that an exploring answer draws, and the candidates it draws from."""
        return self.drawn or (k - 1, self.order[k - 1 : k - 1 + REACH])

    def explored(self, k: int, random: np.random.Generator) -> list[Slot]:
        """As `best`, with one place drawn evenly from its choices, and its propensity."""
        place, reach = self.choices(k)
        if not reach:
            return self.best(k)
        shown = self.order[:k]
        shown[place] = reach[int(random.integers(len(reach)))]
        slots = self._slots(shown, range(1, k + 1))
        slots[place] = msgspec.structs.replace(slots[place], propensity=1.0 / len(reach))
        return slots

    def considered(self, k: int, limit: int = 20) -> list[Slot]:
        """Candidates that were ranked but not shown, evenly spread over the ranks below k."""
        places = [k + i for i in _spread(max(len(self.order) - k, 0), limit)]
        return self._slots([self.order[i] for i in places], [i + 1 for i in places])

    def _slots(self, indices: list[int], positions: Sequence[int]) -> list[Slot]:
        """The candidates at these indices in these places; features as logged, to six decimals."""
        if not indices:
            return []
        found = self.candidates
        features = found.features.take(indices, axis=0).astype(np.float64).round(LOGGED_DECIMALS)
        slots = []
        for index, position, score, source, snapshot in zip(
            indices,
            positions,
            self.scores.take(indices).tolist(),
            found.sources.take(indices).tolist(),
            features.tolist(),
            strict=False,
        ):
            snapshot[POSITION] = position_feature(position)
            is_pinned = index in self.pinned
            slots.append(
                Slot(
                    item_id=found.item_ids[index],
                    position=position,
                    score=score,
                    source=source_of(PINNED if is_pinned else source),
                    features=[] if is_pinned else snapshot,
                )
            )
        return slots


def ranked(candidates: Candidates, weights: RankerWeights) -> Ranked:
    """All candidates by falling score, equal scores by item id whatever order the catalogue has.

    A score is the log-odds of a candidate as if shown in the first place.
    """
    if weights.names != FEATURE_NAMES:
        raise ValueError(f"weights {weights.version} name other features than the candidates have")
    scores = candidates.features.astype(np.float64) @ weights.coef + weights.bias
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    best: list[int] = order.tolist()
    if (falling[1:] == falling[:-1]).any():
        best.sort(key=lambda i: (-scores[i], candidates.item_ids[i]))
    return Ranked(candidates, scores, best, weights.version)


def rank(candidates: Candidates, weights: RankerWeights, k: int) -> list[Slot]:
    """The k best candidates, best first; equal scores go by item id."""
    return ranked(candidates, weights).best(k)


@cache
def source_of(bits: int) -> str:
    """Names of the sources that brought a candidate, joined by a plus sign.

    >>> source_of(5)
    'own+popularity'
    """
    return "+".join(name for bit, name in SOURCE_NAMES.items() if bits & bit)


@cache
def _spread(n: int, limit: int) -> tuple[int, ...]:
    """Up to `limit` numbers below n, evenly spread from the first to the last."""
    if n <= limit:
        return tuple(range(n))
    return tuple(np.linspace(0, n - 1, limit).astype(np.int64).tolist())
