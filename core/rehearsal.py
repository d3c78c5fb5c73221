"""Replays past sessions through a state to get ranker rows: ask, answer, look what was bought.

It trains the first ranker before anything was served; it knows no model but takes its scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.candidates import Ask, gather
from core.sequence import SequenceScores
from core.shop_state import ShopState

Score = Callable[[list[str]], SequenceScores | None]


@dataclass(frozen=True)
class PastSession:
    """One session: who bought what, and when it began."""

    visitor_id: str
    item_ids: tuple[str, ...]
    at_ms: int


@dataclass
class RankerRows:
    """Feature rows and labels of one surface, in the order of the requests."""

    features: list[NDArray[np.float32]] = field(default_factory=list)
    labels: list[NDArray[np.float64]] = field(default_factory=list)

    def stacked(self) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """All rows as one matrix (n, F) and one vector (n,)."""
        return np.concatenate(self.features), np.concatenate(self.labels)


def rehearse(
    state: ShopState,
    sessions: Iterable[PastSession],
    since_ms: int,
    surfaces: Sequence[str],
    score: Score,
) -> dict[str, RankerRows]:
    """Applies the sessions in order; from `since_ms` on, asks for known visitors beforehand.

    A row is a candidate, its label whether the session took it. The state ends after the last
    session.
    """
    rows = {surface: RankerRows() for surface in surfaces}
    for session in sessions:
        if session.at_ms >= since_ms and state.knows(session.visitor_id):
            scores = score(state.history(session.visitor_id))
            taken = set(session.item_ids)
            for surface, kept in rows.items():
                ask = Ask(session.visitor_id, surface, session.at_ms)
                candidates = gather(state, ask, scores)
                kept.features.append(candidates.features)
                kept.labels.append(np.array([i in taken for i in candidates.item_ids], float))
        state.apply(session.visitor_id, "purchase", session.item_ids, session.at_ms)
    return rows
