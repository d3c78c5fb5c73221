"""The online ranker: logistic regression over logged feature snapshots, one step per request.

River supplies the loss and the optimiser; rows come as arrays because a request's slots are
learned together (one AdaGrad step on their mean gradient). It predicts before it learns, so its log
loss is prequential. It knows no topics, versions in force or time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import optim

from core.delayed_feedback import negative_weights
from core.features import FEATURE_NAMES
from core.ranking import RankerWeights
from core.weight_bounds import bounded as bounded

LEARNING_RATE = 0.3
"""Chosen on Online Retail, March to May: 0.02 hardly leaves its start, 0.5 costs recall@10."""
START_SQUARES = 1.0

Matrix = NDArray[np.float32]
Vector = NDArray[np.float64]


@dataclass
class Progress:
    """Prequential log loss: every row is judged before it is learned from."""

    rows: float = 0.0
    loss_sum: float = 0.0

    @property
    def log_loss(self) -> float:
        """Weighted mean log loss so far, 0 before the first row."""
        return self.loss_sum / self.rows if self.rows else 0.0


class _AdaGrad(optim.AdaGrad):
    """River's, to the last bit, with the rate looked up once a step and not once a weight."""

    def _step_with_dict(self, w: Any, g: Any) -> Any:
        rate, squares, eps = self.learning_rate, self.g2, self.eps
        for name, slope in g.items():
            squares[name] = square = squares[name] + slope**2
            w[name] -= rate / (square + eps) ** 0.5 * slope
        return w


class OnlineRanker:
    """Weights that follow the labels; created from weights that were fitted offline."""

    def __init__(self, names: tuple[str, ...] = FEATURE_NAMES) -> None:
        self.names = names
        self.progress = Progress()
        self.steps = 0
        self._loss = optim.losses.Log()
        self._optimizer = _AdaGrad(LEARNING_RATE)
        self._weights: dict[Any, float] = dict.fromkeys(("bias", *names), 0.0)
        for name in self._weights:
            self._optimizer.g2[name] = START_SQUARES

    @classmethod
    def from_weights(cls, weights: RankerWeights) -> OnlineRanker:
        """A ranker that starts at these weights and has learned nothing since."""
        ranker = cls(weights.names)
        ranker._weights.update(zip(weights.names, weights.coef.tolist(), strict=True))
        ranker._weights["bias"] = float(weights.bias)
        return ranker

    def learn(
        self,
        features: Matrix,
        labels: Vector,
        weights: Vector | None = None,
        known: float | None = None,
    ) -> None:
        """Judges the rows of one request, shape (n, F), then takes one step on them.

        `known` is the share of final positives known at the age of these labels, None when they are
        final.
        """
        if not len(labels):
            return
        row_weights = np.ones(len(labels)) if weights is None else weights
        rows = features.astype(np.float64)
        log_odds = rows @ self._coef() + self._weights["bias"]
        if known is not None:
            chances = 1 / (1 + np.exp(-np.clip(log_odds, -30, 30)))
            negative = row_weights * negative_weights(chances, known)
            row_weights = np.where(labels > 0, row_weights, negative)
        self._judge(log_odds, labels, row_weights)
        gradient = self._loss.gradient(labels, log_odds) * row_weights / len(labels)
        steps = np.concatenate([[gradient.sum()], gradient @ rows]).tolist()
        self._optimizer.step(w=self._weights, g=dict(zip(self._weights, steps, strict=True)))
        self.steps += 1

    def weights(self, version: str) -> RankerWeights:
        """The weights as they are now, under a version name."""
        return RankerWeights(self.names, self._coef(), self._weights["bias"], version)

    def to_dict(self) -> dict[str, Any]:
        """Everything needed to go on exactly where this ranker is, as plain JSON values."""
        return {
            "names": list(self.names),
            "weights": dict(self._weights),
            "squares": {name: self._optimizer.g2[name] for name in self._weights},
            "steps": self.steps,
            "rows": self.progress.rows,
            "loss_sum": self.progress.loss_sum,
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> OnlineRanker:
        """The ranker that `to_dict` described."""
        ranker = cls(tuple(saved["names"]))
        ranker._weights = dict(saved["weights"])
        ranker._optimizer.g2.update(saved["squares"])
        ranker._optimizer.n_iterations = ranker.steps = int(saved["steps"])
        ranker.progress = Progress(saved["rows"], saved["loss_sum"])
        return ranker

    def _coef(self) -> Vector:
        return np.array([self._weights[name] for name in self.names])

    def _judge(self, log_odds: Vector, labels: Vector, weights: Vector) -> None:
        losses = np.logaddexp(0.0, log_odds) - labels * log_odds
        self.progress.rows += float(weights.sum())
        self.progress.loss_sum += float(losses @ weights)
