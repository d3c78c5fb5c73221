"""Learning at an early label age without taking "not yet" for "no".

An answer is learned early with the labels known then, and what turns positive later is learned
again as positive. Seen that way negatives are too many: those that will turn are among them. A
weight on each early negative makes the expected gradient that of the final labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def negative_weights(chances: Vector, known: float) -> Vector:
    """Weight of each early negative: (1 − p) / (1 − c·p).

    With chance p of a final positive and share c of those known early, early negatives come with
    frequency 1 − c·p instead of 1 − p; positives come with c·p early and (1 − c)·p later, p in all.
    With c = 0 this is the fake negative weighted loss of Ktena et al. 2019 ("Addressing delayed
    feedback for continuous training with neural networks in CTR prediction"), section 4.2.

    >>> negative_weights(np.array([0.0, 0.5]), known=0.5).round(3).tolist()
    [1.0, 0.667]
    >>> negative_weights(np.array([0.3]), known=1.0).tolist()
    [1.0]
    """
    return np.asarray((1 - chances) / np.maximum(1 - known * chances, 1e-9))
