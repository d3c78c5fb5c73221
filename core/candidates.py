"""Candidates for one request, gathered from every source, with their features.

Sources: the visitor's own items, co-occurrence, recency popularity, the sequence model. It reads
the state and changes nothing in it; ranking is in `core/ranking.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce

import numpy as np
from numpy.typing import NDArray

from core import features
from core.catalogue import Rows
from core.sequence import SequenceScores
from core.shop_state import ShopState
from core.visitor_history import VisitorHistory
from schemas.predictions import Filters

DISCOVER, BUY_AGAIN, SIMILAR = "discover", "buy_again", "similar"
OWN, COOCCURRENCE, POPULARITY, SEQUENCE, TEXT, RELATION, PINNED, ASKED = (1 << i for i in range(8))
SOURCE_NAMES = {
    OWN: "own",
    COOCCURRENCE: "cooccurrence",
    POPULARITY: "popularity",
    SEQUENCE: "sequence",
    TEXT: "text",
    RELATION: "relation",
    PINNED: "pinned",
    ASKED: "asked",
}
TAKEN = {OWN: 80, COOCCURRENCE: 60, POPULARITY: 40, SEQUENCE: 60}
"""How many candidates each source may bring."""

COOCCURRENCE_HISTORY = 100
_ABOVE_ANY = 1_000.0  # lifts log-probabilities above zero, where "not taken" is

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Ask:
    """One question: who asks, where, when, how many.

    `discover` wants items never bought, `buy_again` only such as were. `history` stands in for
    what is known of the visitor; `candidates`, where there are any, are all that may be listed;
    `item_id` is the item that similar ones are asked for.
    """

    visitor_id: str
    surface: str
    now_ms: int
    k: int = 10
    history: tuple[str, ...] | None = None
    exclude: frozenset[str] = field(default_factory=frozenset)
    candidates: tuple[str, ...] = ()
    item_id: str = ""
    filters: Filters | None = None
    diversity: float = 0.0


@dataclass(frozen=True)
class Candidates:
    """Items (n), their features (n, F) and a bit per source that brought them (n,)."""

    item_ids: list[str]
    features: Floats
    sources: NDArray[np.uint8]


@dataclass(frozen=True)
class Ground:
    """What the state says of one request, whichever model is heard and whoever ranks.

    Made once per request by `ground_of`; it holds until the state changes. `allowed` and
    `related`, the co-occurrence scores, have the shape (len(catalogue),).
    """

    state: ShopState
    ask: Ask
    visitor: VisitorHistory
    allowed: NDArray[np.bool_]
    related: Floats

    @cached_property
    def own(self) -> Rows:
        """The visitor's allowed items by count, then by how recent."""
        visitor = self.visitor
        rows = visitor.rows[np.lexsort((visitor.rows, -visitor.last_ms, -visitor.counts))]
        return rows[self.allowed[rows]]

    @cached_property
    def near(self) -> Rows:
        """The allowed items nearest to the visitor's, nearest first, at least k where there are."""
        return top_rows(self.related * self.allowed, max(TAKEN[COOCCURRENCE], self.ask.k))

    @cached_property
    def session(self) -> Floats:
        """Co-occurrence with what the visitor's newest visit was about, shape (catalogue,)."""
        rows = self.visitor.session_rows()
        return self.state.cooccurrence_scores(rows, np.ones(len(rows), np.float32))

    @cached_property
    def like_baskets(self) -> Floats:
        """How often each item is in others' recent baskets like the visitor's, by how alike."""
        return like_baskets(self.state, self.ask, self.visitor)

    @cached_property
    def popular(self) -> Rows:
        """The allowed items most wanted in seven days, at least 2 k where there are."""
        rows = self.state.popularity.ranked(self.ask.now_ms, 7)
        return rows[self.allowed[rows]][: max(TAKEN[POPULARITY], 2 * self.ask.k)]


def ground_of(state: ShopState, ask: Ask, permitted: NDArray[np.bool_] | None = None) -> Ground:
    """What every policy that answers this request starts from.

    `permitted`, shape (len(catalogue),), is what others than the request let pass.
    """
    visitor = visitor_of(state, ask)
    allowed = allowed_rows(state, ask, visitor)
    if permitted is not None:
        allowed &= permitted
    return Ground(state, ask, visitor, allowed, related_scores(state, visitor))


def gather(state: ShopState, ask: Ask, sequence: SequenceScores | None) -> Candidates:
    """The union of what the sources bring, without what the request rules out."""
    (candidates,) = gather_each(ground_of(state, ask), [sequence])
    return candidates


def gather_each(
    ground: Ground,
    sequences: Sequence[SequenceScores | None],
    brought: Mapping[int, Rows] | None = None,
) -> list[Candidates]:
    """As `gather`, for each model; what none of them has a say in is computed once.

    `brought` are rows that others than the sources here bring, by the bit of their source.
    """
    state, others = ground.state, _by_source(ground, brought or {})
    heard = [_heard(ground, others, sequence) for sequence in sequences]
    rows = (reduce(np.bitwise_or, (mask for mask, _ in heard), others) != 0).nonzero()[0]
    item_ids = list(map(state.catalogue.item_ids.__getitem__, rows.tolist()))
    near = features.Near(ground.related, ground.session, ground.like_baskets).at(rows)
    shared = features.shared(state, ground.visitor, ground.ask.now_ms, rows, near)
    found = []
    for mask, log_probs in heard:
        sources = mask[rows]
        at = sources.nonzero()[0]
        names = item_ids if len(at) == len(rows) else [item_ids[i] for i in at.tolist()]
        said = None if log_probs is None else log_probs[rows[at]]
        found.append(Candidates(names, shared.with_sequence(at, said), sources[at]))
    return found


def visitor_of(state: ShopState, ask: Ask) -> VisitorHistory:
    """The history a request is answered from: its own override, the visitor's, or an empty one."""
    if ask.history is None:
        return state.visitor(ask.visitor_id) or VisitorHistory()
    visitor = VisitorHistory()
    counts = Counter(item for item in ask.history if item in state.catalogue.row_of)
    rows = state.catalogue.rows(list(counts))
    if len(rows):
        visitor.add(rows, 1.0, True, ask.now_ms)
        visitor.counts = np.array(list(counts.values()), np.float32)
        visitor.fading = visitor.counts.copy()
    return visitor


def allowed_rows(state: ShopState, ask: Ask, visitor: VisitorHistory) -> NDArray[np.bool_]:
    """Which catalogue rows this request may be shown, shape (len(catalogue),)."""
    catalogue, filters = state.catalogue, ask.filters
    sold_out_too = filters is not None and not filters.in_stock_only
    listed = (catalogue.available if sold_out_too else catalogue.listed)[: len(catalogue)]
    only = _only(state, ask, visitor)
    if only is None:
        allowed = listed.copy()
    else:
        allowed = np.zeros(len(listed), np.bool_)
        allowed[only] = listed[only]
    if ask.surface == DISCOVER:
        allowed[visitor.bought_rows()] = False
    row_of = state.catalogue.row_of
    ruled_out = [*ask.exclude, ask.item_id] if ask.item_id else ask.exclude
    allowed[[row_of[item] for item in ruled_out if item in row_of]] = False
    return allowed


def related_scores(state: ShopState, visitor: VisitorHistory) -> Floats:
    """Co-occurrence with the visitor's newest items, weighted by count, shape (catalogue,)."""
    rows, counts = visitor.rows, visitor.counts
    if len(rows) > COOCCURRENCE_HISTORY:
        newest = np.sort(np.argsort(-visitor.last_ms, kind="stable")[:COOCCURRENCE_HISTORY])
        rows, counts = rows[newest], counts[newest]
    return state.cooccurrence_scores(rows, counts)


def like_baskets(state: ShopState, ask: Ask, visitor: VisitorHistory) -> Floats:
    """What others' recent baskets hold that are like the visitor's, shape (catalogue,).

    An item of the visitor's counts by the logarithm of how often they took it, and by how rare it
    has been in four weeks.
    """
    wanted = np.zeros(len(state.catalogue), np.float32)
    rows = visitor.rows
    common = state.popularity.window(ask.now_ms, 28)[rows]
    wanted[rows] = np.log1p(visitor.counts) / np.sqrt(1.0 + common)
    owner = "" if ask.item_id else state.owner(ask.visitor_id)
    return state.recent.scores(owner, wanted)


def top_rows(values: Floats, n: int) -> Rows:
    """Rows of the n largest values above zero, largest first, ties by row."""
    enough = _reached_by(values, n)
    rows = (values >= enough if enough > 0 else values > 0).nonzero()[0]
    return rows[np.argsort(-values[rows], kind="stable")][:n]


def _reached_by(values: Floats, n: int) -> float:
    """A value that at least n values reach, near the n-th largest; 0 when there are few values.

    Each of n groups has its maximum at or above the n-th largest maximum.
    """
    groups = 4 * n
    depth = len(values) // max(groups, 1)
    if depth < 2:
        return 0.0
    maxima = values[: depth * groups].reshape(depth, groups).max(axis=0)
    return float(np.partition(maxima, groups - n)[groups - n])


def _only(state: ShopState, ask: Ask, visitor: VisitorHistory) -> Rows | None:
    """The only rows that may be listed; None when the whole catalogue may."""
    if ask.candidates:
        row_of = state.catalogue.row_of
        return np.array([row_of[item] for item in ask.candidates if item in row_of], np.int64)
    return visitor.bought_rows() if ask.surface == BUY_AGAIN else None


def _by_source(ground: Ground, brought: Mapping[int, Rows]) -> NDArray[np.uint8]:
    """A bit per source that brings a catalogue row, but for the models', shape (catalogue,)."""
    if ground.ask.candidates:
        return ground.allowed * np.uint8(ASKED)
    found = np.zeros(len(ground.allowed), np.uint8)
    if not ground.ask.item_id:
        found[ground.own[: TAKEN[OWN]]] |= OWN
        found[ground.popular[: TAKEN[POPULARITY]]] |= POPULARITY
    found[ground.near[: TAKEN[COOCCURRENCE]]] |= COOCCURRENCE
    for source, rows in brought.items():
        found[rows[ground.allowed[rows]]] |= source
    return found


def _heard(
    ground: Ground, others: NDArray[np.uint8], sequence: SequenceScores | None
) -> tuple[NDArray[np.uint8], Floats | None]:
    """Sources by catalogue row with the model's own among them, and what it says of each row."""
    if sequence is None:
        return others, None
    log_probs = _by_row(ground.state, sequence)
    if ground.ask.candidates:
        return others, log_probs
    likely = np.where(ground.allowed, log_probs + _ABOVE_ANY, np.float32(0))
    mask = others.copy()
    mask[top_rows(likely, TAKEN[SEQUENCE])] |= SEQUENCE
    return mask, log_probs


def _by_row(state: ShopState, sequence: SequenceScores) -> Floats:
    """Log-probabilities by catalogue row; minus infinity where the model has no say."""
    padded = np.full(len(sequence.log_probs) + 1, -np.inf, np.float32)
    padded[:-1] = sequence.log_probs
    return padded.take(state.vocabulary_columns(sequence.vocabulary))
