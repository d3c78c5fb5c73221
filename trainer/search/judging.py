"""What the judge of search compares: figures by query, slices, and the served graphs' answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapters.onnx_text import TextGraph
from core.gate import MINIMUM_REQUESTS, Compared, not_worse
from core.search_blend import BlendWeights
from core.search_metrics import ndcg, recall, reciprocal_rank
from schemas.models import GateCheck
from trainer.pretrain.encoder import Encoder, encode_batch
from trainer.search.judged import Floats, Judged
from trainer.search.model import CROSS, DENSE, SearchCard, blended

RARE_PRODUCTS = 15
"""Queries with fewer judged products than this are the rare ones."""
LONG_WORDS = 4
RECALL_AT = 100
RERANKED = 50
ROUNDS = 12
Measures = dict[str, Floats]


@dataclass(frozen=True)
class Graphs:
    """The two graphs of a version, as served or in int8."""

    vectors: TextGraph
    pairs: TextGraph
    encoder: Encoder
    """Whose tokenizer both graphs read with."""


def graph_scores(graphs: Graphs, rows: Judged, card: SearchCard) -> dict[str, Floats]:
    """Dense and cross scores of rows by the graphs."""
    spoken = _answers(graphs.vectors, graphs.encoder, rows.queries, None, card.query_length)
    offered = _answers(graphs.vectors, graphs.encoder, rows.titles, None, card.product_length)
    queries = [rows.queries[q] for q in rows.query_of]
    logits = _answers(graphs.pairs, graphs.encoder, queries, rows.titles, card.pair_length)
    cosine = (spoken[rows.query_of] * offered).sum(axis=1)
    return {DENSE: cosine.astype(np.float64), CROSS: logits[:, 0].astype(np.float64)}


def served_scores(
    graphs: Graphs, lexical: dict[str, Floats], rows: Judged, card: SearchCard, blend: BlendWeights
) -> dict[str, Floats]:
    """Every score of rows as a version would give it, `hybrid` for the blend of all."""
    scores = {**lexical, **graph_scores(graphs, rows, card)}
    return {**scores, "hybrid": blended(scores, blend)}


def measures(rows: Judged, scores: Floats, relevant: float) -> Measures:
    """NDCG@10, reciprocal rank and recall@100 by query; NaN where nothing is relevant."""
    found: dict[str, list[float | None]] = {"ndcg10": [], "mrr": [], "recall100": []}
    for at in rows.by_query():
        hits = rows.grades[at] >= relevant
        found["ndcg10"].append(ndcg(scores[at], rows.grades[at]))
        found["mrr"].append(reciprocal_rank(scores[at], hits))
        found["recall100"].append(recall(scores[at], hits, RECALL_AT))
    return {name: np.array(each, dtype=np.float64) for name, each in found.items()}


def rival_checks(
    rows: Judged, mine: Measures, rivals: dict[str, Measures], margin: float, seed: int
) -> list[GateCheck]:
    """Not worse than a rival in any measure; differences paired by query."""
    return [
        not_worse(f"{name}_vs_{rival}", Compared(mine[name], theirs[name], rows.queries), seed,
                  margin)
        for rival, theirs in rivals.items()
        for name in mine
    ]  # fmt: skip


def slices(rows: Judged) -> dict[str, NDArray[np.bool_]]:
    """Which queries are rare, and which are long."""
    products = np.bincount(rows.query_of, minlength=len(rows.queries))
    words = np.array([len(query.split()) for query in rows.queries])
    return {"rare_queries": products < RARE_PRODUCTS, "long_queries": words >= LONG_WORDS}


def slice_checks(
    rows: Judged, mine: Floats, theirs: Floats, margin: float, seed: int
) -> list[GateCheck]:
    """NDCG@10 against a rival within each slice; one too small to judge passes and says so."""
    checks = []
    for name, inside in slices(rows).items():
        chosen = [query for query, kept in zip(rows.queries, inside, strict=True) if kept]
        check = not_worse(f"slice_{name}", Compared(mine[inside], theirs[inside], chosen), seed,
                          margin)  # fmt: skip
        checks.append(_told(check, small=len(chosen)))
    return checks


def rerank_ms(graphs: Graphs, rows: Judged, card: SearchCard) -> float:
    """Median milliseconds of the cross-encoder over fifty candidates of one query, one thread."""
    titles = [rows.titles[i % len(rows)] for i in range(RERANKED)]
    queries = [rows.queries[0]] * RERANKED
    tokens = encode_batch(graphs.encoder, queries, titles, card.pair_length)
    ids, mask = tokens[0].numpy(), tokens[1].numpy()
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        graphs.pairs.run(ids, mask)
        taken.append((time.perf_counter() - started) * 1_000)
    return float(np.median(taken[2:]))


def _told(check: GateCheck, small: int) -> GateCheck:
    if small >= MINIMUM_REQUESTS:
        return check
    return GateCheck(
        name=check.name, passed=True, value=check.value, threshold=check.threshold,
        low=check.low, high=check.high, n=small, detail="too few queries to judge",
    )  # fmt: skip


def _answers(
    graph: TextGraph,
    encoder: Encoder,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    length: int,
) -> NDArray[np.float32]:
    encoder.tokenizer.no_padding()
    encoder.tokenizer.enable_truncation(length)
    both = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
    return graph.rows([one.ids for one in encoder.tokenizer.encode_batch(both)])
