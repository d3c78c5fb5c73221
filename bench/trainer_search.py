"""Search on crowdflower_search: our hybrid against BM25 on queries that neither has seen.

Judged products of each query are ranked; the gain of a product is 2^grade - 1 with grade 0 for
relevance 1 (irrelevant) up to 3, equal scores count by expectation. Queries are divided at random
60/10/30; BM25's k1, b and fields, and everything of ours, are chosen on training and validation
queries. Collection statistics are over all products, for both alike. `served` are the same queries
over the whole catalogue (`bench/trainer_search_served.py`).
"""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.datasets import unpacked
from bench.minilm import minilm
from bench.trainer_search_served import as_served, shop_of
from core.intervals import cluster_bootstrap
from core.search_metrics import ndcg
from trainer.corpus.examples import Corpus, Example
from trainer.search.judged import Floats, Judged, judged
from trainer.search.lexical import ndcg_by_query, words_of
from trainer.search.model import (
    blended,
    cross_scores,
    dense_scores,
    lexical_scores,
    load_search,
)
from trainer.search.settings import SearchSettings
from trainer.search.stage import fit_search
from trainer.task import Task

SEED = 7
SHARES = (0.6, 0.1)
QUICK_QUERIES = 40
SETTINGS = SearchSettings(vector_epochs=0, pair_epochs=2)
"""Chosen on queries outside the test part: beside the other scores a bi-encoder fitted to the 126
training queries orders no better than the one it began as, so the time goes to the cross-encoder.
"""


def measure(data: Path, quick: bool) -> dict[str, Any]:
    """Fits on training queries and reports every component on the test queries, once."""
    started = time.perf_counter()
    corpus = divided(list(read_pairs(unpacked(data, "crowdflower_search"))), quick)
    encoder = minilm()
    task = Task(task="search", kind="search", seed=SEED, search=SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit_search(task, corpus, encoder, Path(folder))
        print({name: round(value, 4) for name, value in fitted.items()}, flush=True)
        rows, scores = components(Path(folder), corpus)
        everything = judged(corpus.train, corpus.valid, corpus.test)
        tested = np.flatnonzero(everything.part_of == 2)
        served = as_served(Path(folder), shop_of(everything, tested.tolist()))
    found = {**report(rows, scores), "served": served}
    found["seconds"] = round(time.perf_counter() - started, 1)
    return {"search": found}


def read_pairs(folder: Path) -> Iterator[Example]:
    """The judged pairs of all files, by number; a rating that people disagreed on weighs less."""
    rows: list[dict[str, str]] = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows += csv.DictReader(file)
    for row in sorted(rows, key=lambda one: int(one["id"])):
        yield Example(
            example_id=row["id"].zfill(6),
            text=row["query"],
            pair=" ".join(row["product_title"].split()) + "\n" + row["product_description"],
            value=float(row["median_relevance"]),
            group=row["query"].lower(),
            weight=1.0 / (1.0 + float(row["relevance_variance"])),
        )


def divided(pairs: list[Example], quick: bool = False) -> Corpus:
    """60/10/30 of the queries; every pair of a query is in one part."""
    queries = np.random.default_rng(SEED).permutation(sorted({one.group for one in pairs}))
    if quick:
        queries = queries[:QUICK_QUERIES]
    ends = [round(len(queries) * share) for share in np.cumsum(SHARES)]
    chosen = [set(part.tolist()) for part in np.split(queries, ends)]
    train, valid, test = ([one for one in pairs if one.group in part] for part in chosen)
    return Corpus(train=train, valid=valid, test=test)


def components(folder: Path, corpus: Corpus) -> tuple[Judged, dict[str, Floats]]:
    """The test rows, and their scores by each component and by the blend of all."""
    model = load_search(folder)
    rows = judged(corpus.train, corpus.valid, corpus.test)
    tested = np.flatnonzero(rows.part_of == 2)
    at = np.flatnonzero(np.isin(rows.query_of, tested))
    part = rows.of_queries(tested)
    lexical = lexical_scores(rows, words_of(rows), model.card)
    scores = {name: each[at] for name, each in lexical.items()}
    scores["bm25"] = scores[f"bm25_{model.card.best_bm25}"]
    scores["dense"] = dense_scores(model.vectors, part, model.card, "bfloat16")
    scores["cross"] = cross_scores(model.pairs, part, model.card, "bfloat16")
    scores["hybrid"] = blended(scores, model.blend)
    print(model.card, model.blend, sep="\n", flush=True)
    return part, scores


def report(rows: Judged, scores: dict[str, Floats]) -> dict[str, Any]:
    """NDCG@10 of every component with its interval, and the gain over BM25, paired by query."""
    figures = {name: ndcg_by_query(rows, each) for name, each in scores.items()}
    told = {name: _interval(each) for name, each in figures.items()}
    for name, (mean, low, high) in told.items():
        print(f"{name:20s} {mean:.4f}  [{low:.4f}, {high:.4f}]", flush=True)
    base = float(np.nanmean(figures["bm25"]))
    gain = [value / base for value in _interval(figures["hybrid"] - figures["bm25"])]
    print(
        f"hybrid over bm25: {gain[0]:+.1%} [{gain[1]:+.1%}, {gain[2]:+.1%}] of bm25's", flush=True
    )
    return {
        "ndcg10": told["hybrid"][0],
        "bm25_ndcg10": told["bm25"][0],
        "interval": told["hybrid"][1:],
        "bm25_interval": told["bm25"][1:],
        "relative_gain": gain,
        "components": {name: each[0] for name, each in told.items()},
        "gain_of_grades_1_to_4": _from_one(rows, scores),
        "queries": len(rows.queries),
        "pairs": len(rows),
    }


def _from_one(rows: Judged, scores: dict[str, Floats]) -> dict[str, float]:
    """The same with gain 2^relevance - 1 of the ratings as given, 1 to 4: irrelevant counts 1."""
    found = {}
    for name in ("bm25", "hybrid"):
        each = [ndcg(scores[name][at], rows.grades[at] + 1.0) for at in rows.by_query()]
        found[name] = float(np.mean([one for one in each if one is not None]))
    return found


def _interval(values: Floats) -> tuple[float, float, float]:
    known = values[~np.isnan(values)]
    names = [str(i) for i in range(len(known))]
    return cluster_bootstrap(known, names, np.random.default_rng(SEED))
