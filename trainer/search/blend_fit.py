"""Learns how the scores of several retrievers add up: logistic regression on pairs of one list."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.linear_model import LogisticRegression

from core.search_blend import BlendWeights
from trainer.search.judged import Floats, Judged, Places

SMALLEST_SCALE = 1e-6


def fit_blend(
    judged: Judged, scores: Mapping[str, Floats], queries: Places, l2: float
) -> BlendWeights:
    """The linear blend that best puts the higher graded of two products of a query ahead.

    Each pair counts by its difference in gain, each query alike. Source: Joachims 2002 ("Optimizing
    Search Engines using Clickthrough Data"), with a logistic in place of the hinge.
    """
    columns = tuple(scores)
    table = np.stack([scores[name] for name in columns], axis=1)
    by_query = judged.by_query()
    rows = np.concatenate([by_query[q] for q in queries])
    centres = table[rows].mean(axis=0)
    scales = np.maximum(table[rows].std(axis=0), SMALLEST_SCALE)
    standard = (table - centres) / scales
    steps, weights = [], []
    for q in queries:
        ahead, behind, gain = _pairs(judged.grades[by_query[q]])
        if len(ahead):
            steps.append(standard[by_query[q][ahead]] - standard[by_query[q][behind]])
            weights.append(gain / gain.sum())
    found = _weights(np.concatenate(steps), np.concatenate(weights), l2) if steps else [0.0]
    return BlendWeights(
        columns=columns,
        weights=tuple(float(one) for one in found) if steps else (1.0,) * len(columns),
        centres=tuple(float(one) for one in centres),
        scales=tuple(float(one) for one in scales),
    )


def _pairs(grades: Floats) -> tuple[Places, Places, Floats]:
    """Places of the better and of the worse of each pair, and their difference in gain."""
    gain = np.exp2(grades) - 1.0
    ahead, behind = np.nonzero(grades[:, None] > grades[None])
    return ahead, behind, gain[ahead] - gain[behind]


def _weights(steps: Floats, weights: Floats, l2: float) -> Floats:
    """Every other pair is turned round, so that both answers occur."""
    signs = np.where(np.arange(len(steps)) % 2, -1.0, 1.0)
    model = LogisticRegression(C=1.0 / l2, fit_intercept=False, max_iter=1_000)
    model.fit(steps * signs[:, None], signs, sample_weight=weights)
    return np.asarray(model.coef_[0], dtype=np.float64)
