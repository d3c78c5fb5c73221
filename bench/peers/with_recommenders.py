"""Recommender libraries, refit weekly: implicit's and RecTools' answers to the retail requests.

`python -m bench.peers.with_recommenders FOLDER` reads `asked.npz` and writes `answers.npz`: for
each peer and surface the items it lists, shape (requests, 10), -1 where it has no more.

`visitor`, `item`: one row per item bought, in the order the shop learns of it. A request of
`asked_visitor` sees the visitor's rows before `known`, and models fitted on the rows before
`fitted`. `discover` leaves out what the visitor has bought.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import BM25Recommender, TFIDFRecommender
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import EASEModel, PureSVDModel
from scipy.sparse import csr_matrix

K = 10
SET: dict[str, dict[str, float]] = {
    "implicit_tfidf": {"K": 200},
    "implicit_bm25": {"K": 200, "K1": 1.2, "B": 0.75},
    "implicit_als": {"factors": 256, "iterations": 15, "regularization": 0.01, "alpha": 1.0},
    "rectools_pure_svd": {"factors": 64},
    "rectools_ease": {"regularization": 500.0},
}
Scores = np.ndarray
Scorer = Callable[[csr_matrix], Scores]


def main(folder: Path, settings: dict[str, dict[str, float]]) -> None:
    """Answers every request, one fit of each peer per week."""
    with np.load(folder / "asked.npz") as given:
        asked = {name: given[name] for name in given.files}
    n_items = int(asked["item"].max()) + 1
    shape = (len(asked["known"]), K)
    answers = {f"{p}/{s}": np.full(shape, -1, np.int32) for p in settings for s in SURFACES}
    spent = dict.fromkeys(settings, 0.0)
    for fitted in np.unique(asked["fitted"]):
        requests = np.flatnonzero(asked["fitted"] == fitted)
        rows = _visitor_rows(asked, requests, n_items)
        matrix = _counted(asked["visitor"][:fitted], asked["item"][:fitted], n_items)
        for name, chosen in settings.items():
            began = time.perf_counter()
            scores = FITS[name](matrix, chosen)(rows)
            spent[name] += time.perf_counter() - began
            for surface in SURFACES:
                answers[f"{name}/{surface}"][requests] = _best(scores, rows, surface)
    np.savez(folder / "answers.npz", **answers)  # type: ignore[arg-type]
    print(json.dumps({name: round(seconds, 1) for name, seconds in spent.items()}))


SURFACES = ("home", "discover")


def _counted(visitors: Scores, items: Scores, n_items: int) -> csr_matrix:
    """How often each visitor bought each item, shape (visitors, n_items)."""
    ones = np.ones(len(items), np.float32)
    matrix = csr_matrix((ones, (visitors, items)), (int(visitors.max()) + 1, n_items))
    matrix.sum_duplicates()
    return matrix


def _visitor_rows(asked: dict[str, Scores], requests: Scores, n_items: int) -> csr_matrix:
    """What each asking visitor had bought by then, shape (len(requests), n_items)."""
    order = np.argsort(asked["visitor"], kind="stable")
    begins = np.searchsorted(asked["visitor"][order], np.arange(asked["visitor"].max() + 2))
    rows, items = [], []
    for row, request in enumerate(requests):
        visitor = asked["asked_visitor"][request]
        of_visitor = order[begins[visitor] : begins[visitor + 1]]
        seen = of_visitor[: np.searchsorted(of_visitor, asked["known"][request])]
        rows.append(np.full(len(seen), row))
        items.append(asked["item"][seen])
    where = (np.concatenate(rows), np.concatenate(items))
    matrix = csr_matrix((np.ones(len(where[0]), np.float32), where), (len(requests), n_items))
    matrix.sum_duplicates()
    return matrix


def _best(scores: Scores, rows: csr_matrix, surface: str) -> Scores:
    kept = scores.copy()
    if surface == "discover":
        kept[rows.nonzero()] = -np.inf
    top = np.argpartition(-kept, K, axis=1)[:, :K]
    order = np.argsort(-np.take_along_axis(kept, top, 1), axis=1, kind="stable")
    return np.asarray(np.take_along_axis(top, order, 1), np.int32)


def _neighbours(kind: type) -> Callable[[csr_matrix, dict[str, float]], Scorer]:
    def fit(matrix: csr_matrix, chosen: dict[str, float]) -> Scorer:
        model = kind(num_threads=1, **chosen)
        model.fit(matrix, show_progress=False)
        return lambda rows: np.asarray((rows @ model.similarity).todense(), np.float32)

    return fit


def _als(matrix: csr_matrix, chosen: dict[str, float]) -> Scorer:
    model = AlternatingLeastSquares(num_threads=1, random_state=0, **chosen)
    model.fit(matrix, show_progress=False)

    def scores(rows: csr_matrix) -> Scores:
        factors = model.recalculate_user(np.arange(rows.shape[0]), rows)
        return np.asarray(factors @ model.item_factors.T, np.float32)

    return scores


def _pure_svd(matrix: csr_matrix, chosen: dict[str, float]) -> Scorer:
    dataset, columns = _dataset(matrix)
    model = PureSVDModel(factors=int(chosen["factors"]))
    model.fit(dataset)
    # The library's item factors are V times sigma; a row's own factors are its product with V.
    axes = model.item_factors / np.linalg.norm(model.item_factors, axis=0)
    return lambda rows: _in_columns(np.asarray(rows[:, columns] @ axes) @ axes.T, columns, rows)


def _ease(matrix: csr_matrix, chosen: dict[str, float]) -> Scorer:
    dataset, columns = _dataset(matrix)
    model = EASEModel(regularization=chosen["regularization"], num_threads=1)
    model.fit(dataset)
    return lambda rows: _in_columns(np.asarray(rows[:, columns] @ model.weight), columns, rows)


def _dataset(matrix: csr_matrix) -> tuple[Dataset, Scores]:
    """RecTools' form of the purchases, and which item each of its columns is."""
    import pandas as pd

    found = matrix.tocoo()
    frame = pd.DataFrame(
        {
            Columns.User: found.row,
            Columns.Item: found.col,
            Columns.Weight: found.data,
            Columns.Datetime: pd.Timestamp(0),
        }
    )
    dataset = Dataset.construct(frame)
    return dataset, np.asarray(dataset.item_id_map.external_ids, np.int64)


def _in_columns(scores: Scores, columns: Scores, rows: csr_matrix) -> Scores:
    placed = np.full(rows.shape, -np.inf, np.float32)
    placed[:, columns] = scores
    return placed


FITS: dict[str, Callable[[csr_matrix, dict[str, float]], Scorer]] = {
    "implicit_tfidf": _neighbours(TFIDFRecommender),
    "implicit_bm25": _neighbours(BM25Recommender),
    "implicit_als": _als,
    "rectools_pure_svd": _pure_svd,
    "rectools_ease": _ease,
}

if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]) if len(sys.argv) > 2 else SET)
