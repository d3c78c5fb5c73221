"""From the scores of several retrievers to one ranked list of products.

It knows no retriever: columns of scores come in, an order goes out. NaN says that a retriever did
not return the product.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RRF_K = 60


class BlendWeights(msgspec.Struct, frozen=True, kw_only=True):
    """A learned linear blend: per column the weight, and the centre and scale it was fitted with.

    A version keeps it as `blend.json`; `columns` names the scores in their order.
    """

    columns: tuple[str, ...]
    weights: tuple[float, ...]
    centres: tuple[float, ...]
    scales: tuple[float, ...]


def linear_blend(scores: Floats, blend: BlendWeights) -> Floats:
    """The blended score of each row; a missing score counts as the column's centre.

    >>> blend = BlendWeights(columns=("bm25", "dense"), weights=(1.0, 2.0), centres=(0.0, 0.5),
    ...                      scales=(2.0, 0.5))
    >>> linear_blend(np.array([[4.0, 1.0], [2.0, np.nan]]), blend).tolist()
    [4.0, 1.0]
    """
    if scores.ndim != 2 or scores.shape[1] != len(blend.columns):
        raise ValueError(f"{len(blend.columns)} columns wanted, shape {scores.shape} given")
    standard = (scores - np.asarray(blend.centres)) / np.asarray(blend.scales)
    return np.asarray(np.nan_to_num(standard, nan=0.0) @ np.asarray(blend.weights))


def places(scores: Floats) -> Floats:
    """Place of each product in one retriever's list, from 1; equals share the mean of theirs.

    >>> places(np.array([0.5, 0.9, 0.5, np.nan])).tolist()
    [2.5, 1.0, 2.5, nan]
    """
    found = np.full(len(scores), np.nan)
    known = ~np.isnan(scores)
    distinct, group, counts = np.unique(-scores[known], return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    found[known] = (last - (counts - 1) / 2)[group] if len(distinct) else []
    return found


def reciprocal_rank_fusion(scores: Floats, k: int = RRF_K) -> Floats:
    """Sum over retrievers of 1 / (k + place); what a retriever did not return adds nothing.

    Source: Cormack, Clarke and Büttcher 2009 ("Reciprocal Rank Fusion outperforms Condorcet").

    >>> reciprocal_rank_fusion(np.array([[9.0, 0.1], [5.0, 0.7]]), k=1).round(3).tolist()
    [0.833, 0.833]
    """
    parts = [np.nan_to_num(1.0 / (k + places(column)), nan=0.0) for column in scores.T]
    return np.sum(parts, axis=0) if parts else np.zeros(len(scores))


def ranked_list(item_ids: Sequence[str], scores: Floats, k: int) -> list[str]:
    """The k best items; equal scores go by item id, so the order of arrival never shows.

    >>> ranked_list(["b", "a", "c"], np.array([1.0, 1.0, 2.0]), k=2)
    ['c', 'a']
    """
    if len(item_ids) != len(scores):
        raise ValueError(f"{len(item_ids)} items but {len(scores)} scores")
    order = sorted(range(len(item_ids)), key=lambda i: (-float(scores[i]), item_ids[i]))
    return [item_ids[i] for i in order[:k]]
