"""Candidates for one request, gathered from every source, with their features.

Sources: the visitor's own items, co-occurrence, recency popularity, the sequence model. It reads
the state and changes nothing in it; ranking is in `core/ranking.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from core import features
from core.catalogue import Rows
from core.likely import likely_rows, log_probs_of
from core.sequence import SequenceScores
from core.shop_state import ShopState
from core.surfaces import BUY_AGAIN, DISCOVER
from core.top import sorted_union, top_allowed
from core.visitor_history import VisitorHistory
from schemas.predictions import PINNED_SOURCE, Filters

OWN, COOCCURRENCE, POPULARITY, SEQUENCE, TEXT, RELATION, PINNED, ASKED = (1 << i for i in range(8))
SOURCE_NAMES = {
    OWN: "own",
    COOCCURRENCE: "cooccurrence",
    POPULARITY: "popularity",
    SEQUENCE: "sequence",
    TEXT: "text",
    RELATION: "relations",
    PINNED: PINNED_SOURCE,
    ASKED: "asked",
}
TAKEN = {OWN: 80, COOCCURRENCE: 60, POPULARITY: 40, SEQUENCE: 60, TEXT: 40}
"""How many candidates each source may bring."""

NEW_UP_TO, ALIKE_TO = 10, 3
"""A session of at most ten items by one who never bought brings items like its newest three."""

COOCCURRENCE_HISTORY = 100

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
    """Items (n), their features (n, F), a bit per source that brought them, catalogue rows (n,)."""

    item_ids: list[str]
    features: Floats
    sources: NDArray[np.uint8]
    rows: Rows = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class Ground:
    """What the state says of one request, whichever model is heard and whoever ranks.

    Made once per request by `ground_of`; it holds until the state changes. `allowed` has the
    shape (len(catalogue),). Where filters or rules restrict the list, an item that the shop never
    told of does not pass. Where `is_stale`, what the visitor took last may be missing: what goes
    with their items still does, but nothing is listed, or described, as their own.
    """

    state: ShopState
    ask: Ask
    visitor: VisitorHistory
    allowed: NDArray[np.bool_]
    is_restricted: bool = False
    is_stale: bool = False

    @property
    def described(self) -> VisitorHistory:
        """The history that features describe; an empty one while the visitor's own is stale."""
        return VisitorHistory() if self.is_stale else self.visitor

    @cached_property
    def own(self) -> Rows:
        """The visitor's allowed items by count, then by how recent."""
        visitor = self.visitor
        rows = visitor.rows[np.lexsort((visitor.rows, -visitor.last_ms, -visitor.counts))]
        return rows[self.allowed[rows]]

    @cached_property
    def near(self) -> Rows:
        """The allowed items nearest to the visitor's, nearest first, at least k where there are."""
        related = self.related
        rows = self.state.row_of_slot[: len(related)]
        return top_allowed(related, max(TAKEN[COOCCURRENCE], self.ask.k), rows, self.allowed)

    @cached_property
    def related(self) -> Floats:
        """Co-occurrence with the visitor's newest items, weighted by count, by slot."""
        return self.state.related_by_slot(*_newest(self.visitor))

    @cached_property
    def popular(self) -> Rows:
        """The allowed items most wanted in seven days, at least 2 k where there are."""
        wanted = max(TAKEN[POPULARITY], 2 * self.ask.k)
        return self.state.popularity.most_wanted(self.ask.now_ms, 7, wanted, self.allowed)

    def nearness(self, rows: Rows) -> features.Near:
        """How near these rows are to the visitor's items, to those of the newest visit, to theirs.

        An item of the visitor's says of others' baskets how alike they are by the logarithm of how
        often it was taken, and by how rare it has been in four weeks.
        """
        state, visitor = self.state, self.visitor
        own = visitor.rows
        common = state.popularity.window(self.ask.now_ms, 28)[own]
        wanted = np.log1p(visitor.counts) / np.sqrt(1.0 + common)
        owner = "" if self.ask.item_id else state.owner(self.ask.visitor_id)
        session = visitor.session_rows()
        once = np.ones(len(session), np.float32)
        if self.ask.candidates:
            related = state.related_of(*_newest(visitor), rows)
            in_session = state.related_of(session, once, rows)
        else:
            related = state.from_slots(self.related, rows)
            in_session = state.from_slots(state.related_by_slot(session, once), rows)
        baskets = state.recent.scores_of(owner, own, wanted, rows)
        return features.Near(related, in_session, baskets)


def ground_of(
    state: ShopState,
    ask: Ask,
    permitted: NDArray[np.bool_] | None = None,
    *,
    is_stale: bool = False,
) -> Ground:
    """What every policy that answers this request starts from.

    `permitted`, shape (len(catalogue),), is what others than the request let pass. Where the state
    `is_stale`, so is the history it has; on `buy_again` what was bought once stays bought.
    """
    visitor = visitor_of(state, ask)
    allowed = allowed_rows(state, ask, visitor)
    if permitted is not None:
        allowed &= permitted
    is_restricted = permitted is not None or ask.filters is not None
    is_stale = is_stale and ask.history is None and ask.surface != BUY_AGAIN
    return Ground(state, ask, visitor, allowed, is_restricted, is_stale)


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
    state = ground.state
    others = _by_source(ground, brought or {})
    heard = [_heard(ground, sequence) for sequence in sequences]
    rows = sorted_union([*(rows for _, rows in others), *heard])
    bits = np.zeros(len(rows), np.uint8)
    for bit, found in others:
        bits[np.searchsorted(rows, found)] |= bit
    item_ids = list(map(state.catalogue.item_ids.__getitem__, rows.tolist()))
    shared = features.shared(
        state, ground.described, ground.ask.now_ms, rows, ground.nearness(rows)
    )
    gathered = []
    for sequence, likely in zip(sequences, heard, strict=True):
        sources = bits.copy()
        sources[np.searchsorted(rows, likely)] |= SEQUENCE
        at = sources.nonzero()[0]
        names = item_ids if len(at) == len(rows) else [item_ids[i] for i in at.tolist()]
        said = None if sequence is None else log_probs_of(state, sequence, rows[at])
        gathered.append(Candidates(names, shared.with_sequence(at, said), sources[at], rows[at]))
    return gathered


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


def _newest(visitor: VisitorHistory) -> tuple[Rows, Floats]:
    """The visitor's newest hundred items and how often they took each."""
    rows, counts = visitor.rows, visitor.counts
    if len(rows) > COOCCURRENCE_HISTORY:
        newest = np.sort(np.argsort(-visitor.last_ms, kind="stable")[:COOCCURRENCE_HISTORY])
        rows, counts = rows[newest], counts[newest]
    return rows, counts


def _only(state: ShopState, ask: Ask, visitor: VisitorHistory) -> Rows | None:
    """The only rows that may be listed; None when the whole catalogue may."""
    if ask.candidates:
        row_of = state.catalogue.row_of
        return np.array([row_of[item] for item in ask.candidates if item in row_of], np.int64)
    return visitor.bought_rows() if ask.surface == BUY_AGAIN else None


def _by_source(ground: Ground, brought: Mapping[int, Rows]) -> list[tuple[int, Rows]]:
    """The allowed rows that each source brings, but for the models, by the source's bit."""
    if ground.ask.candidates:
        return [(ASKED, ground.allowed.nonzero()[0])]
    found = [(COOCCURRENCE, ground.near[: TAKEN[COOCCURRENCE]])]
    if ground.ask.item_id or _is_new(ground):
        found.append((TEXT, _alike(ground)))
    if not ground.ask.item_id:
        if not ground.is_stale:
            found.append((OWN, ground.own[: TAKEN[OWN]]))
        found.append((POPULARITY, ground.popular[: TAKEN[POPULARITY]]))
    return found + [(bit, rows[ground.allowed[rows]]) for bit, rows in brought.items()]


def _is_new(ground: Ground) -> bool:
    """Whether this is a session that the shop knows little else of: titles speak for it, too."""
    visitor = ground.visitor
    is_known = ground.ask.history is None and bool(visitor.bought.any())
    return not is_known and len(visitor.rows) <= NEW_UP_TO


def _alike(ground: Ground) -> Rows:
    """The allowed rows with titles like those of the newest few items, sold before or not."""
    newest = list(dict.fromkeys(reversed(ground.visitor.recent)))[:ALIKE_TO]
    lists = [ground.state.alike(row, TAKEN[TEXT]) for row in newest]
    kept = [rows[ground.allowed[rows]][: TAKEN[TEXT] // len(newest)] for rows in lists]
    return np.concatenate(kept) if kept else np.zeros(0, np.int64)


def _heard(ground: Ground, sequence: SequenceScores | None) -> Rows:
    """The allowed rows that a model brings."""
    if sequence is None or ground.ask.candidates:
        return np.zeros(0, np.int64)
    barred = len(ground.visitor.rows) + len(ground.ask.exclude)
    return likely_rows(ground.state, sequence, ground.allowed, TAKEN[SEQUENCE], barred)
