"""From the numbers of a text graph to labels with probabilities. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.predictions import Label


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Softmax over the last axis; the graph has divided by its temperature already.

    >>> probabilities(np.array([[0.0, 0.0]], np.float32)).tolist()
    [[0.5, 0.5]]
    """
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    raised = np.exp(shifted)
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def best_labels(shares: NDArray[np.float64], labels: Sequence[str], k: int) -> list[Label]:
    """The k most probable labels, best first; equals go in the order of the labels.

    >>> best_labels(np.array([0.2, 0.5, 0.3]), ["a", "b", "c"], k=2)
    [Label(label='b', score=0.5), Label(label='c', score=0.3)]
    """
    order = np.argsort(-shares, kind="stable")[:k]
    return [Label(label=labels[at], score=round(float(shares[at]), 6)) for at in order.tolist()]
