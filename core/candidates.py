"""Candidates for one request, gathered from every source, with their features.

Sources: the visitor's own items, co-occurrence, recency popularity, the sequence model. It reads
the state and changes nothing in it; ranking is in `core/ranking.py`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core import features
from core.catalogue import Rows
from core.sequence import SequenceScores
from core.shop_state import ShopState
from core.visitor_history import VisitorHistory

DISCOVER = "discover"
OWN, COOCCURRENCE, POPULARITY, SEQUENCE = 1, 2, 4, 8
SOURCE_NAMES = {OWN: "own", COOCCURRENCE: "cooccurrence", POPULARITY: "popularity"} | {
    SEQUENCE: "sequence"
}
TAKEN = {OWN: 80, COOCCURRENCE: 60, POPULARITY: 40, SEQUENCE: 60}
"""How many candidates each source may bring."""

COOCCURRENCE_HISTORY = 100
_ABOVE_ANY = 1_000.0  # lifts log-probabilities above zero, where "not taken" is

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Ask:
    """One question: who asks, where, when, how many; `discover` wants items never bought."""

    visitor_id: str
    surface: str
    now_ms: int
    k: int = 10
    history: tuple[str, ...] | None = None
    exclude: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Candidates:
    """Items (n), their features (n, F) and a bit per source that brought them (n,)."""

    item_ids: list[str]
    features: Floats
    sources: NDArray[np.uint8]


def gather(state: ShopState, ask: Ask, sequence: SequenceScores | None) -> Candidates:
    """The union of what the sources bring, without what the request rules out."""
    visitor = visitor_of(state, ask)
    allowed = allowed_rows(state, ask, visitor)
    related = related_scores(state, visitor)
    log_probs = _by_row(state, sequence) if sequence is not None else None
    mask = np.zeros(len(state.catalogue), np.uint8)
    week = state.popularity.window(ask.now_ms, 7)[: len(mask)]
    mask[_own_rows(visitor, allowed)] |= OWN
    mask[top_rows(related * allowed, TAKEN[COOCCURRENCE])] |= COOCCURRENCE
    mask[top_rows(week * allowed, TAKEN[POPULARITY])] |= POPULARITY
    if log_probs is not None:
        likely = np.where(allowed, log_probs + _ABOVE_ANY, 0.0).astype(np.float32)
        mask[top_rows(likely, TAKEN[SEQUENCE])] |= SEQUENCE
    rows = np.flatnonzero(mask)
    signals = features.Signals(rows, related[rows], None if log_probs is None else log_probs[rows])
    return Candidates(
        item_ids=[state.catalogue.item_ids[row] for row in rows],
        features=features.compute(state, visitor, ask.now_ms, signals),
        sources=mask[rows],
    )


def visitor_of(state: ShopState, ask: Ask) -> VisitorHistory:
    """The history a request is answered from: its own override, the visitor's, or an empty one."""
    if ask.history is None:
        return state.visitors.get(ask.visitor_id) or VisitorHistory()
    visitor = VisitorHistory()
    counts = Counter(item for item in ask.history if item in state.catalogue.row_of)
    rows = state.catalogue.rows(list(counts))
    if len(rows):
        visitor.add(rows, 1.0, True, ask.now_ms)
        visitor.counts = np.array(list(counts.values()), np.float32)
    return visitor


def allowed_rows(state: ShopState, ask: Ask, visitor: VisitorHistory) -> NDArray[np.bool_]:
    """Which catalogue rows this request may be shown, shape (len(catalogue),)."""
    allowed = state.catalogue.available[: len(state.catalogue)].copy()
    if ask.surface == DISCOVER:
        allowed[visitor.bought_rows()] = False
    row_of = state.catalogue.row_of
    allowed[[row_of[item] for item in ask.exclude if item in row_of]] = False
    return allowed


def related_scores(state: ShopState, visitor: VisitorHistory) -> Floats:
    """Co-occurrence with the visitor's newest items, weighted by count, shape (catalogue,)."""
    rows, counts = visitor.rows, visitor.counts
    if len(rows) > COOCCURRENCE_HISTORY:
        newest = np.sort(np.argsort(-visitor.last_ms, kind="stable")[:COOCCURRENCE_HISTORY])
        rows, counts = rows[newest], counts[newest]
    return state.cooccurrence_scores(rows, counts)


def top_rows(values: Floats, n: int) -> Rows:
    """Rows of the n largest values above zero, largest first, ties by row."""
    rows = np.flatnonzero(values > 0)
    above = values[rows]
    if len(rows) > n:
        enough = above >= np.partition(above, len(rows) - n)[len(rows) - n]
        rows, above = rows[enough], above[enough]
    return rows[np.argsort(-above, kind="stable")][:n]


def _own_rows(visitor: VisitorHistory, allowed: NDArray[np.bool_]) -> Rows:
    """The visitor's items by count, then by how recent, as many as the source may bring."""
    order = np.lexsort((visitor.rows, -visitor.last_ms, -visitor.counts))
    rows = visitor.rows[order]
    return rows[allowed[rows]][: TAKEN[OWN]]


def _by_row(state: ShopState, sequence: SequenceScores) -> Floats:
    """Log-probabilities by catalogue row; minus infinity where the model has no say."""
    rows = state.vocabulary_rows(sequence.vocabulary)
    known = rows >= 0
    values = np.full(len(state.catalogue), -np.inf, np.float32)
    values[rows[known]] = sequence.log_probs[known]
    return values
