"""One number by which fits are compared on the validation part; more is better."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def score(kind: str, outputs: NDArray[Any], targets: NDArray[Any]) -> float:
    """Mean of accuracy and macro-F1 of a classifier; less the root mean square error otherwise.

    >>> score("classify", np.array([[2.0, 1.0], [0.0, 3.0]]), np.array([0, 1]))
    1.0
    """
    if kind == "regress":
        return -float(np.sqrt(np.mean((outputs[:, 0] - targets) ** 2)))
    guessed = outputs.argmax(1)
    return 0.5 * float((guessed == targets).mean()) + 0.5 * macro_f1(guessed, targets)


def macro_f1(guessed: NDArray[Any], targets: NDArray[Any]) -> float:
    """The mean over the labels that occur of the harmonic mean of precision and recall.

    >>> round(macro_f1(np.array([0, 1, 1]), np.array([0, 1, 0])), 4)
    0.6667
    """
    found = []
    for label in np.unique(np.concatenate([guessed, targets])):
        hits = float(np.sum((guessed == label) & (targets == label)))
        found.append(2 * hits / float(np.sum(guessed == label) + np.sum(targets == label)))
    return float(np.mean(found)) if found else 0.0
