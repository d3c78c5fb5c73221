"""What another ranking would have earned, from answers that were partly drawn by chance.

An exploring answer draws one place from a few items with a known propensity. Weighting its outcome
by 1/propensity wherever the other ranking lists the drawn item estimates, free of the champion's
choice, how many of the drawn items that ranking would have sold. It rests on the answers that match
alone: their effective number must reach a floor, or the estimate counts for nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ESS_FLOOR = 100.0

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """Sales per exploring answer (`ips`), per matching one (`snips`), and what they rest on."""

    ips: float
    snips: float
    ess: float
    n: int

    @property
    def counts(self) -> bool:
        """Whether enough answers match."""
        return self.ess >= ESS_FLOOR


def importance_weights(listed: NDArray[np.bool_], propensities: Floats) -> Floats:
    """1/propensity where the other ranking lists the drawn item, else 0, shape (n,).

    Raises ValueError for a propensity that is no chance of being drawn.

    >>> importance_weights(np.array([True, False]), np.array([0.05, 0.05])).tolist()
    [20.0, 0.0]
    """
    if len(propensities) and not (propensities.min() > 0.0 and propensities.max() <= 1.0):
        raise ValueError("a propensity lies in (0, 1]")
    return np.where(listed, 1.0 / propensities, 0.0)


def effective_sample_size(weights: Floats) -> float:
    """(Σw)² / Σw²: how many equally weighted answers the weights are worth.

    Source: Kish 1965, section 11.7; Owen, Monte Carlo theory, chapter 9.3.

    >>> effective_sample_size(np.array([20.0, 0.0, 20.0, 0.0])), effective_sample_size(np.zeros(4))
    (2.0, 0.0)
    """
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def estimate(weights: Floats, rewards: Floats) -> Estimate:
    """Inverse-propensity and self-normalised estimates of a ranking's sales.

    The value of a list is taken as the sum over its items (the item-position model without
    interaction). Source: Li, Abbasi-Yadkori, Kveton, Muthukrishnan, Vinay, Wen 2018 ("Offline
    evaluation of ranking policies with click models"), section 4; Swaminathan and Joachims 2015
    ("The self-normalized estimator for counterfactual learning").

    >>> estimate(np.array([20.0, 0.0, 20.0, 0.0]), np.array([1.0, 1.0, 0.0, 0.0]))
    Estimate(ips=5.0, snips=0.5, ess=2.0, n=4)
    """
    n, total = len(weights), float(weights.sum())
    earned = float((weights * rewards).sum())
    return Estimate(
        ips=earned / n if n else 0.0,
        snips=earned / total if total > 0 else 0.0,
        ess=effective_sample_size(weights),
        n=n,
    )
