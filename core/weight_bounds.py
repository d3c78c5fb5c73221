"""Which ranker weights may be served; apart from learning, so that serving needs no learner."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.features import FEATURE_NAMES
from core.ranking import RankerWeights

MAX_COEFFICIENT = 50.0

Matrix = NDArray[np.float32]


def bounded(weights: RankerWeights, probe: Matrix | None = None) -> str | None:
    """Why these weights must not be served, or None.

    The probe is feature rows (n, F) on which log-odds must stay within what float math can order.

    >>> bad = RankerWeights(FEATURE_NAMES, np.full(len(FEATURE_NAMES), np.nan), 0.0, "w1")
    >>> bounded(bad)
    'weights w1 hold a value that is not finite'
    """
    if weights.names != FEATURE_NAMES or weights.coef.shape != (len(FEATURE_NAMES),):
        return f"weights {weights.version} name other features than this code computes"
    if not (np.isfinite(weights.coef).all() and np.isfinite(weights.bias)):
        return f"weights {weights.version} hold a value that is not finite"
    largest = max(float(np.abs(weights.coef).max()), abs(weights.bias))
    if largest > MAX_COEFFICIENT:
        return f"weights {weights.version} reach {largest:.1f}, above {MAX_COEFFICIENT:.0f}"
    if probe is not None:
        log_odds = probe.astype(np.float64) @ weights.coef + weights.bias
        if not len(log_odds) or float(np.ptp(log_odds)) < 1e-9:
            return f"weights {weights.version} score every probe row alike"
    return None
