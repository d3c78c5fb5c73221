"""The order of a search's candidates once its columns are known.

Pure: columns of scores come in, an order with the score of each place goes out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.search_blend import BlendWeights, linear_blend

Floats = NDArray[np.float64]
EXACT_LEAD = 1.0


def least_for_unread(scores: Floats, column: int, blend: BlendWeights) -> Floats:
    """The scores with NaN of a column as the least that its known rows add to the blend.

    A cross-encoder reads the best few only; what it did not read must not overtake what it read by
    being taken for an average product. Where nothing was read, NaN stays and counts as the centre.

    >>> blend = BlendWeights(columns=("cross",), weights=(2.0,), centres=(0.0,), scales=(1.0,))
    >>> least_for_unread(np.array([[0.5], [np.nan], [-1.0]]), 0, blend).tolist()
    [[0.5], [-1.0], [-1.0]]
    """
    known = ~np.isnan(scores[:, column])
    if not known.any() or known.all():
        return scores
    read = scores[known, column]
    least = read.min() if blend.weights[column] >= 0 else read.max()
    filled = scores.copy()
    filled[~known, column] = least
    return filled


def finite(scores: Floats, blend: BlendWeights) -> Floats:
    """The scores as they are logged: what a retriever did not say is the column's centre."""
    return np.where(np.isnan(scores), np.asarray(blend.centres), scores)


def order(
    item_ids: Sequence[str],
    scores: Floats,
    blend: BlendWeights,
    exact: frozenset[str],
    terms: Floats | None = None,
) -> list[tuple[int, float]]:
    """Places of the candidates, best first, with their scores; exact ids and titles lead.

    `terms`, shape (n,), are added in ordering and not in the scores.

    >>> blend = BlendWeights(columns=("bm25",), weights=(1.0,), centres=(0.0,), scales=(1.0,))
    >>> order(["a", "b", "c"], np.array([[1.0], [3.0], [2.0]]), blend, frozenset({"a"}))
    [(0, 5.0), (1, 3.0), (2, 2.0)]
    >>> boosted = np.array([0.0, 0.0, 1.5])
    >>> order(["a", "b", "c"], np.array([[1.0], [3.0], [2.0]]), blend, frozenset(), boosted)
    [(2, 2.0), (1, 3.0), (0, 1.0)]
    """
    blended = linear_blend(scores, blend)
    lead = float(blended.max(initial=0.0) - blended.min(initial=0.0)) + EXACT_LEAD
    for place, item_id in enumerate(item_ids):
        if item_id in exact:
            blended[place] += lead
    wanted = (blended if terms is None else blended + terms).tolist()
    ranked = sorted(
        range(len(item_ids)), key=lambda at: (item_ids[at] not in exact, -wanted[at], item_ids[at])
    )
    return [(at, float(blended[at])) for at in ranked]
