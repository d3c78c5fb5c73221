"""Which texts a person should label next: those a model is least sure of, and unlike each other.

*Source:* Settles, "Active learning literature survey", 2009 (entropy, margin); Sener and Savarese,
"Active learning for convolutional neural networks: a core-set approach", 2018 (k-center greedy).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


def entropy(chances: Floats) -> Floats:
    """How unsure each row of chances is, from 0 to 1; shape `(n_rows, n_labels)`.

    >>> entropy(np.array([[0.5, 0.5], [1.0, 0.0]])).tolist()
    [1.0, 0.0]
    """
    logs = np.log(chances, out=np.zeros_like(chances), where=chances > 0)
    found: Floats = -(chances * logs).sum(axis=1) / np.log(max(2, chances.shape[1])) + 0.0
    return found


def margin(chances: Floats) -> Floats:
    """One minus how far the likeliest label is ahead of the next.

    >>> margin(np.array([[0.6, 0.4], [1.0, 0.0]])).round(2).tolist()
    [0.8, 0.0]
    """
    ordered = np.sort(chances, axis=1)
    found: Floats = 1.0 - (ordered[:, -1] - ordered[:, -2])
    return found


def k_center(vectors: Floats, count: int, first: int = 0) -> Places:
    """Places whose vectors cover all others best: each next one is farthest from those chosen.

    >>> k_center(np.array([[0.0], [0.1], [5.0], [9.0]]), 3).tolist()
    [0, 3, 2]
    """
    chosen = [first]
    apart = _distance(vectors, vectors[first])
    while len(chosen) < min(count, len(vectors)):
        farthest = int(np.argmax(apart))
        if apart[farthest] <= 0:  # what is left says what was chosen already
            break
        chosen.append(farthest)
        apart = np.minimum(apart, _distance(vectors, vectors[farthest]))
    return np.array(chosen, dtype=np.int64)


def _distance(vectors: Floats, one: Floats) -> Floats:
    found: Floats = ((vectors - one) ** 2).sum(axis=1)
    return found
