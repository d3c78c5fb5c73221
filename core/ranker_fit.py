"""The ranker's first weights, from slots whose labels are known; later ones are learned online.

Apart from `core/ranker.py`, so that who only fits need not load River.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.features import FEATURE_NAMES
from core.ranking import RankerWeights

Matrix = NDArray[np.float32]
Vector = NDArray[np.float64]


def fit_initial(
    features: Matrix, labels: Vector, version: str, ridge: float = 1.0
) -> RankerWeights:
    """Weights at the penalised maximum likelihood of logged slots, by Newton's method.

    *Source:* Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, 4.4.1.
    """
    rows = np.column_stack([np.ones(len(labels)), features.astype(np.float64)])
    penalty = np.full(rows.shape[1], ridge)
    penalty[0] = 1e-6
    beta = np.zeros(rows.shape[1])
    for _ in range(25):
        chance = 1.0 / (1.0 + np.exp(-(rows @ beta)))
        slope = rows.T @ (chance - labels) + penalty * beta
        curve = (rows * (chance * (1 - chance))[:, None]).T @ rows + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        beta -= step
        if float(np.abs(step).max()) < 1e-8:
            break
    return RankerWeights(FEATURE_NAMES, beta[1:], float(beta[0]), version)
