"""BM25 over titles and over whole products, and how many words of the query a product has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import bm25s
import msgspec
import numpy as np
import Stemmer
from numpy.typing import NDArray

from core.search_metrics import ndcg
from trainer.search.judged import Floats, Judged, Places

TERM_WEIGHTS = (0.4, 0.8, 1.2, 2.0)
LENGTH_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)


class Bm25Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The free parameters of BM25 and how often a title counts beside its description."""

    k1: float = 1.2
    b: float = 0.75
    title_copies: int = 1
    body_copies: int = 1


FIELDS = {"title": (1, 0), "product": (1, 1), "title_thrice": (3, 1)}


@dataclass(frozen=True)
class Words:
    """The stems of every product's title and description, stop words left out."""

    titles: list[list[str]]
    bodies: list[list[str]]

    def documents(self, settings: Bm25Settings) -> list[list[str]]:
        """What is indexed under these settings."""
        return [
            title * settings.title_copies + body * settings.body_copies
            for title, body in zip(self.titles, self.bodies, strict=True)
        ]


def stems(texts: Sequence[str], language: str = "english") -> list[list[str]]:
    """The stemmed words of each text, English stop words left out."""
    stemmer = Stemmer.Stemmer(language)
    found = bm25s.tokenize(
        list(texts), stopwords="en", stemmer=stemmer, show_progress=False, return_ids=False
    )
    return cast(list[list[str]], found)


def words_of(judged: Judged) -> Words:
    """The stems of all products of judged rows."""
    return Words(stems(judged.titles), stems(judged.bodies))


class Bm25:
    """An index over products; scores every product of it for a query."""

    def __init__(self, documents: list[list[str]], settings: Bm25Settings) -> None:
        self._index: Any = bm25s.BM25(k1=settings.k1, b=settings.b, method="lucene")
        self._index.index(documents, show_progress=False)
        self._size = len(documents)

    def scores(self, query: Sequence[str]) -> NDArray[np.float32]:
        """The score of each product, shape (products,); words nobody uses count nothing."""
        known = [word for word in query if word in self._index.vocab_dict]
        if not known:
            return np.zeros(self._size, dtype=np.float32)
        return cast(NDArray[np.float32], self._index.get_scores(known))


def bm25_scores(judged: Judged, documents: list[list[str]], settings: Bm25Settings) -> Floats:
    """BM25 of each judged row; the index is over the products of all rows."""
    index, found = Bm25(documents, settings), np.zeros(len(judged))
    for rows, query in zip(judged.by_query(), stems(judged.queries), strict=True):
        found[rows] = index.scores(query)[rows]
    return found


def best_bm25(judged: Judged, words: Words, queries: Places) -> dict[str, Bm25Settings]:
    """For each way to index a product the b, then the k1, with the best NDCG@10 on these queries.

    One after the other: the two hardly depend on each other, and a grid costs four times as much.
    """
    found = {}
    for name, (title, body) in FIELDS.items():
        best = Bm25Settings(title_copies=title, body_copies=body)
        documents = words.documents(best)
        by_length = [msgspec.structs.replace(best, b=b) for b in LENGTH_WEIGHTS]
        best = _best_of(judged, documents, by_length, queries)
        by_count = [msgspec.structs.replace(best, k1=k1) for k1 in TERM_WEIGHTS]
        found[name] = _best_of(judged, documents, by_count, queries)
    return found


def _best_of(
    judged: Judged, documents: list[list[str]], tried: Sequence[Bm25Settings], queries: Places
) -> Bm25Settings:
    figures = [mean_ndcg(judged, bm25_scores(judged, documents, one), queries) for one in tried]
    return tried[int(np.argmax(figures))]


def ndcg_by_query(judged: Judged, scores: Floats, k: int = 10) -> Floats:
    """NDCG@k of each query, NaN where nothing is relevant; equal scores by expectation."""
    figures = [ndcg(scores[rows], judged.grades[rows], k) for rows in judged.by_query()]
    return np.array([np.nan if one is None else one for one in figures])


def mean_ndcg(judged: Judged, scores: Floats, queries: Places) -> float:
    """Mean NDCG@10 over some of the queries."""
    rows = judged.by_query()
    figures = [ndcg(scores[rows[q]], judged.grades[rows[q]]) for q in queries]
    return float(np.mean([one for one in figures if one is not None]))


def overlaps(judged: Judged, words: Words) -> dict[str, Floats]:
    """Share of the query's words that the title has, that the product has, and all or nothing."""
    spoken = [set(query) for query in stems(judged.queries)]
    title, whole = np.zeros(len(judged)), np.zeros(len(judged))
    for row, query in enumerate(judged.query_of):
        wanted = spoken[int(query)]
        if wanted:
            in_title = wanted & set(words.titles[row])
            title[row] = len(in_title) / len(wanted)
            whole[row] = len(in_title | (wanted & set(words.bodies[row]))) / len(wanted)
    return {"title_share": title, "product_share": whole, "title_all": (title == 1.0) * 1.0}
