"""Products that a query finds by its words and nobody judged: taken as not relevant, with doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from trainer.search.judged import Judged, Places
from trainer.search.lexical import Bm25, Bm25Settings, Words, stems
from trainer.search.settings import SearchSettings

LOOKED_AT = 50


def with_negatives(
    rows: Judged,
    queries: Places,
    lexical: tuple[Words, Bm25Settings],
    settings: SearchSettings,
    seed: int,
) -> Judged:
    """The part of some queries, each with products of the same part that BM25 puts high.

    A product that is judged for the query, or has the title of one that is, never becomes a
    negative. They are drawn from the first fifty, so that not every one is nearly right.
    """
    words, bm25 = lexical
    part = rows.of_queries(queries)
    if not settings.hard_negatives or not len(part):
        return part
    at = np.flatnonzero(np.isin(rows.query_of, queries))
    here = Words([words.titles[i] for i in at], [words.bodies[i] for i in at])
    index, random = Bm25(here.documents(bm25), bm25), np.random.default_rng(seed)
    found: list[tuple[int, int]] = []
    for query, spoken in enumerate(stems(part.queries)):
        known = {part.titles[i] for i in np.flatnonzero(part.query_of == query)}
        scores = index.scores(spoken)
        first = np.argsort(-scores, kind="stable")[: LOOKED_AT + len(known)]
        unknown = [i for i in first if scores[i] > 0.0 and part.titles[i] not in known]
        drawn = random.permutation(unknown[:LOOKED_AT])[: settings.hard_negatives]
        found += [(query, int(i)) for i in drawn]
    return _extended(part, found, settings.negative_weight)


def _extended(part: Judged, found: Sequence[tuple[int, int]], weight: float) -> Judged:
    """The part with a row for each query and product found, of grade 0."""
    chosen = [i for _, i in found]
    more = np.zeros(len(found))
    return replace(
        part,
        query_of=np.concatenate([part.query_of, np.array([q for q, _ in found], dtype=np.int64)]),
        titles=part.titles + [part.titles[i] for i in chosen],
        bodies=part.bodies + [part.bodies[i] for i in chosen],
        grades=np.concatenate([part.grades, more]),
        weights=np.concatenate([part.weights, more + weight]),
        item_ids=part.item_ids + [part.item_ids[i] for i in chosen],
    )
