"""Finds the candidates of a search: by words, by vectors, and by exact ids and titles.

Everything that needs the items' lock happens here, in two short spells; the encoder runs between.
It orders nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from adapters.onnx import GRAPH_ERRORS
from adapters.tantivy_index import Narrowing
from adapters.text_version import SearchVersion
from core.degrading import MODEL_FAILED
from core.search_columns import DENSE, word_columns
from schemas.predictions import Filters, SearchRequest
from serving.graph_breakers import ENCODER, Graph, GraphBreakers
from serving.rules_file import RulesFile
from serving.search_items import SearchItems
from serving.search_query import Wording, wording
from serving.search_rules import Ruled, SearchRules, Wanted, ruled, shown

FOUND = 100
"""Items that each of the two ways to find brings."""
EXACT, BM25, NEAR = "exact", "bm25", "dense"
FURTHER = 4  # times as many are asked for where rules rule out too many

log = logging.getLogger(__name__)
Floats = NDArray[np.float64]
Cosines = NDArray[np.float32]


@dataclass
class Found:
    """Candidates of one search: what they are, what found each, and their columns so far."""

    words: Wording
    wanted: Wanted
    item_ids: list[str]
    titles: list[str]
    sources: list[list[str]]
    exact: frozenset[str]
    bm25: Floats
    columns: dict[str, Floats] = field(default_factory=dict)
    degraded: str | None = None
    rules: Ruled = field(default_factory=Ruled)


class Finder:
    """Looks things up among the items as they are now.

    Args:
        items: what can be found.
        rules: what the shop wants of searches.
        breakers: which encoders are left alone for a while.
    """

    def __init__(
        self,
        items: SearchItems,
        rules: RulesFile | None = None,
        breakers: GraphBreakers | None = None,
    ) -> None:
        self._items = items
        self._breakers = breakers or GraphBreakers()
        self._rules = SearchRules(rules)

    def find(self, request: SearchRequest, version: SearchVersion | None, now_ms: int) -> Found:
        """Candidates with every column of the version's blend but the cross-encoder's.

        What rules hold is asked for at `now_ms`, epoch milliseconds.
        """
        items, filters = self._items, request.filters or Filters()
        n = max(FOUND, request.k) + len(request.exclude_item_ids)
        with items.lock:
            words = wording(items.book, items.index, request.query)
            wanted = self._rules.wanted(items.book.catalogue, request, now_ms)
        hits = self._hits(words, filters, n, wanted)
        cosines, degraded = self._cosines(request.task, version, words.text)
        with items.lock:
            passes = self._passes(filters, wanted)
            exact = [row for row in items.book.exact(request.query) if passes[row]]
            near = _nearest(cosines, passes, n)
            brought = (*exact, *hits, *near, *wanted.pins)
            rows = self._kept(brought, passes, set(request.exclude_item_ids))
            found = self._described(rows, (words, wanted), (exact, hits, near))
            found.rules = ruled(wanted, items.book.catalogue, rows, exact)
            if version is not None:
                terms = [items.book.terms[row] for row in rows]
                forms, counts = version.card.bm25, items.book.counts
                readings = [
                    word_columns(each, terms, counts, forms)
                    for each in (words.terms, *words.others)
                ]
                found.columns.update({name: _best(name, readings) for name in readings[0]})
        found.columns[DENSE] = _of_rows(cosines, rows)
        found.degraded = degraded
        return found

    def shown(self, found: Found, order: list[int], odds: Floats) -> list[int]:
        """The candidates to show, of all in the wanted order, and their log-odds, shape (n,)."""
        wanted = found.wanted
        if not (wanted.now.arranges or wanted.diversity > 0):
            return order[: wanted.answer.shown]
        with self._items.lock:
            return shown(wanted, found.rules, self._items.book.catalogue, order, odds)

    def _hits(self, words: Wording, filters: Filters, n: int, wanted: Wanted) -> dict[int, float]:
        """The n best by words, or more: so many that n are left by the rules, if there are.

        What rules require the index sees to: one item in thousands may pass.
        """
        asked, narrowings = n, [_narrowing(each) for each in (filters, *wanted.now.required)]
        while True:
            hits = dict(self._items.index.hits(words.query, narrowings, asked))
            allowed = wanted.allowed
            if allowed is None or len(hits) < asked:
                return hits
            known = [row for row in hits if row >= len(allowed) or allowed[row]]
            if len(known) >= n:
                return {row: hits[row] for row in known[:n]}
            asked *= FURTHER

    def _passes(self, filters: Filters, wanted: Wanted) -> NDArray[np.bool_]:
        """Which rows filters and rules let pass; the lock is held."""
        catalogue = self._items.book.catalogue
        passes = self._items.book.masks.mask(catalogue, filters)
        allowed = wanted.now.allowed(catalogue)
        return passes if allowed is None else passes & allowed

    def _cosines(
        self, task: str, version: SearchVersion | None, text: str
    ) -> tuple[Cosines, str | None]:
        """The cosine of the query with every row that has a vector; or why there is none.

        Signs alone (`!!`, an emoji) say nothing to an encoder, which finds something near all the
        same.
        """
        vectors = self._items.vectors.get(version.version) if version is not None else None
        if version is None or vectors is None or not any(map(str.isalnum, text)):
            return np.zeros(0, np.float32), None
        graph = Graph(ENCODER, task, version.version)
        if not self._breakers.allows(graph):
            return np.zeros(0, np.float32), MODEL_FAILED
        try:
            query = version.query_vectors([text])[0]
        except GRAPH_ERRORS as error:
            log.error("version %s failed on a query: %s", version.version, error)
            self._breakers.told(graph, good=False)
            return np.zeros(0, np.float32), MODEL_FAILED
        self._breakers.told(graph, good=True)
        return vectors.cosines(query), None

    def _kept(
        self, rows: Iterable[int], passes: NDArray[np.bool_], excluded: set[str]
    ) -> list[int]:
        """Each row once, in order, less those that may not be shown."""
        item_ids = self._items.book.catalogue.item_ids
        return [row for row in dict.fromkeys(rows) if passes[row] and item_ids[row] not in excluded]

    def _described(
        self,
        rows: list[int],
        asked: tuple[Wording, Wanted],
        brought: tuple[Sequence[int], dict[int, float], Sequence[int]],
    ) -> Found:
        catalogue = self._items.book.catalogue
        exact, hits, near = brought
        by = ((EXACT, set(exact)), (BM25, set(hits)), (NEAR, set(near)))
        return Found(
            words=asked[0],
            wanted=asked[1],
            item_ids=[catalogue.item_ids[row] for row in rows],
            titles=[catalogue.titles[row] for row in rows],
            sources=[[name for name, those in by if row in those] for row in rows],
            exact=frozenset(catalogue.item_ids[row] for row in exact),
            bm25=np.array([hits.get(row, 0.0) for row in rows]),
        )


def _best(name: str, readings: Sequence[Mapping[str, Floats]]) -> Floats:
    """Of each candidate the reading of the query that suits it best."""
    best: Floats = np.stack([each[name] for each in readings]).max(axis=0)
    return best


def _narrowing(filters: Filters) -> Narrowing:
    return Narrowing(
        listed_only=filters.in_stock_only,
        categories=filters.categories,
        excluded=filters.excluded_categories,
        price_from=filters.price_from,
        price_to=filters.price_to,
    )


def _nearest(cosines: Cosines, passes: NDArray[np.bool_], n: int) -> list[int]:
    """The n rows of the greatest cosine among those that pass and have a vector, best first."""
    length = min(len(cosines), len(passes))
    n = min(n, length)
    if n < 1:
        return []
    known = passes[:length] & ~np.isnan(cosines[:length])
    scores = np.where(known, cosines[:length], -np.inf)
    best = np.argpartition(scores, length - n)[length - n :]
    best = best[np.lexsort((best, -scores[best]))]
    return [int(row) for row in best if np.isfinite(scores[row])]


def _of_rows(cosines: Cosines, rows: Sequence[int]) -> Floats:
    found = np.full(len(rows), np.nan)
    for place, row in enumerate(rows):
        if row < len(cosines):
            found[place] = cosines[row]
    return found
