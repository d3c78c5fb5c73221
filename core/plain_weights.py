"""Ranker weights for a shop that has learned none yet, and no version that ships any.

Set by hand, in steps of a tenth: what a shopper takes often and lately first, then what goes with
it, then what is popular. Measured in docs/serving.md, Circuits.
"""

from __future__ import annotations

import numpy as np

from core.features import FEATURE_NAMES
from core.ranking import RankerWeights

_COEFFICIENTS = {
    "own_count": 1.0,
    "own_recency": 1.0,
    "own_fading": 0.5,
    "cooccurrence": 0.5,
    "cooccurrence_session": 0.3,
    "like_baskets": 0.5,
    "popularity_7d": 0.2,
}

PLAIN = RankerWeights(
    FEATURE_NAMES, np.array([_COEFFICIENTS.get(name, 0.0) for name in FEATURE_NAMES]), -4.0, "plain"
)
