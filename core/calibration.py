"""A calibration map learned online: how often what was scored like this came true.

Scores fall into bins of equal width; the observed rates are made monotone now and then and read as
a table, so that looking one up costs next to nothing. Knows no slots and no lists.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

_KEPT = 0.9
"""Share of the counts that each refit keeps, so that the map follows the last ten refits."""


class Calibration(msgspec.Struct):
    """Counts by bin, and the table in force, empty until the first refit."""

    low: float
    width: float
    seen: list[float]
    came_true: list[float]
    table: list[float] = []

    def place(self, score: float) -> int:
        """The bin of a score; scores beyond the ends fall into the outer bins."""
        return self.places((score,))[0]

    def places(self, scores: Sequence[float]) -> list[int]:
        """The bins of several scores."""
        low, width, last = self.low, self.width, len(self.seen) - 1
        steps = [(score - low) / width for score in scores]
        return [0 if step <= 0 else last if step >= last else int(step) for step in steps]

    def add(self, place: int, happened: bool) -> None:
        """Counts one outcome in a bin."""
        self.seen[place] += 1
        self.came_true[place] += happened

    def add_all(self, places: Sequence[int], labels: Sequence[int]) -> None:
        """Counts one outcome in each bin, positive where its label is."""
        seen, came_true = self.seen, self.came_true
        for place, label in zip(places, labels, strict=False):
            seen[place] += 1
            if label > 0:
                came_true[place] += 1

    def refit(self) -> None:
        """Makes the table from the counts, then fades them; leaves it when there are none.

        >>> each = calibration(0.0, 1.0, 4)
        >>> for place, happened in ((0, False), (1, True), (1, False), (3, True)):
        ...     each.add(place, happened)
        >>> each.refit()
        >>> each.table
        [0.0, 0.5, 0.75, 1.0]
        """
        seen = np.asarray(self.seen)
        places = np.flatnonzero(seen > 0)
        if not len(places):
            return
        rates = monotone(np.asarray(self.came_true)[places] / seen[places], seen[places])
        self.table = np.interp(np.arange(len(seen)), places, rates).tolist()
        self.seen = [_KEPT * count for count in self.seen]
        self.came_true = [_KEPT * count for count in self.came_true]


def calibration(low: float, width: float, bins: int) -> Calibration:
    """A map that has seen nothing."""
    return Calibration(low, width, [0.0] * bins, [0.0] * bins)


def monotone(rates: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest rising sequence in weighted least squares, by pooling adjacent violators.

    Source: Barlow, Bartholomew, Bremner, Brunk 1972, section 1.2.

    >>> monotone(np.array([0.1, 0.5, 0.3]), np.array([1.0, 1.0, 3.0])).round(2).tolist()
    [0.1, 0.35, 0.35]
    """
    blocks: list[tuple[float, float, int]] = []
    for rate, weight in zip(rates.tolist(), weights.tolist(), strict=True):
        blocks.append((rate, weight, 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (first, heavy, many), (second, light, few) = blocks[-2:]
            pooled = (first * heavy + second * light) / (heavy + light)
            blocks[-2:] = [(pooled, heavy + light, many + few)]
    return np.repeat([rate for rate, _, _ in blocks], [count for _, _, count in blocks])
