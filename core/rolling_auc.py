"""Exact area under the ROC curve of the newest slots; computed when asked for, not per slot.

River's RollingROCAUC counts tied scores wrongly (0.481 where all scores are equal).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

AUC_SLOTS = 2_000


def exact_auc(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> float | None:
    """Chance that a positive scores above a negative, a tie counting half; None without both.

    The Mann–Whitney statistic by midranks: (R₊ − P(P+1)/2) / (P·N).
    Source: Hanley and McNeil 1982, section 2.

    >>> exact_auc(np.array([1, 0, 0]), np.array([0.5, 0.5, 0.1]))
    0.75
    """
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return None
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    midranks = np.cumsum(count) - (count - 1) / 2
    above = float(midranks[place[labels == 1]].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives)


class RollingAuc:
    """The newest slots, their labels and scores; `slots` is all there is to save."""

    def __init__(self, slots: list[tuple[int, float]] | None = None) -> None:
        self.slots: list[tuple[int, float]] = slots or []

    def add(self, labels: list[int], scores: list[float]) -> None:
        """Takes in the slots of one list."""
        self.slots.extend(zip(labels, scores, strict=True))
        if len(self.slots) >= 2 * AUC_SLOTS:
            del self.slots[:-AUC_SLOTS]

    def newest(self) -> list[tuple[int, float]]:
        """The slots that count, at most `AUC_SLOTS`."""
        return self.slots[-AUC_SLOTS:]

    def value(self) -> tuple[float, int, int] | None:
        """The area, and how many positives and negatives it rests on."""
        newest = self.newest()
        labels = np.fromiter((label for label, _ in newest), np.int64, len(newest))
        scores = np.fromiter((score for _, score in newest), np.float64, len(newest))
        area = exact_auc(labels, scores)
        positives = int(labels.sum())
        return None if area is None else (area, positives, len(newest) - positives)
