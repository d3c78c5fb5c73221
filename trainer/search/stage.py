"""The stages of a search task: fit both networks and the blend, and judge what came out.

No network sees the queries that the blend is learned on: the scores of a network on its own
training queries are better than any it will give again, and a blend of those trusts it too much.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np

from trainer.corpus.examples import Corpus
from trainer.pretrain.encoder import load_encoder
from trainer.search.blend_fit import fit_blend
from trainer.search.fit import fit_pairs, fit_vectors
from trainer.search.judged import Floats, Judged, Places, judged
from trainer.search.lexical import Words, best_bm25, bm25_scores, mean_ndcg, words_of
from trainer.search.model import (
    CROSS,
    DENSE,
    SearchCard,
    SearchModel,
    blended,
    cross_scores,
    dense_scores,
    lexical_scores,
)
from trainer.search.negatives import with_negatives
from trainer.search.networks import PairModel, VectorModel
from trainer.search.settings import SearchSettings
from trainer.task import Task

TRAIN, VALID, TEST = 0, 1, 2
_log = logging.getLogger(__name__)


def fit_search(task: Task, corpus: Corpus, encoder_folder: Path, folder: Path) -> dict[str, float]:
    """Fits a search model from an encoder and writes it; figures are of queries not fitted on.

    The test part lends its products to the statistics of BM25, never its grades.
    """
    settings, began = task.search, time.perf_counter()
    rows = judged(corpus.train, corpus.valid, corpus.test)
    words = words_of(rows)
    fitted_on, blended_on = divided(rows, settings.blend_share, task.seed)
    card = _card(rows, words, np.flatnonzero(rows.part_of == TRAIN), settings)
    _log.info("chose BM25 parameters after %.0f s", time.perf_counter() - began)
    best = card.bm25[card.best_bm25]
    lists = with_negatives(rows, fitted_on, (words, best), settings, task.seed)
    near = VectorModel(load_encoder(encoder_folder))
    fit_vectors(near, lists, settings, task.seed)
    pairs = PairModel(load_encoder(encoder_folder), task.seed)
    fit_pairs(pairs, lists, settings, task.seed)
    _log.info("fitted the networks after %.0f s", time.perf_counter() - began)
    scores = _scored(near, pairs, rows, (words, card), blended_on, settings)
    blend = fit_blend(rows, scores, blended_on, settings.blend_l2)
    SearchModel(near, pairs, card, blend).save(folder)
    figures = {f"{name}_ndcg10": mean_ndcg(rows, one, blended_on) for name, one in scores.items()}
    mixed = mean_ndcg(rows, blended(scores, blend), blended_on)
    return {**figures, "fitted_blend_ndcg10": mixed, "seconds": time.perf_counter() - began}


def divided(rows: Judged, share: float, seed: int) -> tuple[Places, Places]:
    """Queries for the networks and queries for the blend: validation and a share of training."""
    train = np.random.default_rng(seed).permutation(np.flatnonzero(rows.part_of == TRAIN))
    kept = round(len(train) * share)
    valid = np.flatnonzero(rows.part_of == VALID)
    return np.sort(train[kept:]), np.sort(np.concatenate([train[:kept], valid]))


def _scored(
    near: VectorModel,
    pairs: PairModel,
    rows: Judged,
    lexical: tuple[Words, SearchCard],
    queries: Places,
    settings: SearchSettings,
) -> dict[str, Floats]:
    """The columns of the blend by row; what the networks say of other queries is left at zero."""
    words, card = lexical
    found = lexical_scores(rows, words, card)
    part, at = rows.of_queries(queries), np.flatnonzero(np.isin(rows.query_of, queries))
    for name, said in (
        (DENSE, dense_scores(near, part, card, settings.precision)),
        (CROSS, cross_scores(pairs, part, card, settings.precision)),
    ):
        found[name] = np.zeros(len(rows))
        found[name][at] = said
    return found


def _card(rows: Judged, words: Words, queries: Places, settings: SearchSettings) -> SearchCard:
    fields = best_bm25(rows, words, queries)
    reached = {
        name: mean_ndcg(rows, bm25_scores(rows, words.documents(one), one), queries)
        for name, one in fields.items()
    }
    return SearchCard(
        bm25=fields,
        best_bm25=max(sorted(reached), key=lambda name: reached[name]),
        query_length=settings.query_length,
        product_length=settings.product_length,
        pair_length=settings.pair_length,
        highest=float(rows.grades[np.isin(rows.query_of, queries)].max(initial=0.0)) or 1.0,
    )
