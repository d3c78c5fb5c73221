"""How good a text model's answers are: classes, numbers and how sure it was, from arrays alone.

A classifier's answers are logits of shape (rows, classes), a regressor's one number a row. It knows
no model, no text and no file.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.search_metrics import ndcg

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SURE = (0.5, 0.7, 0.9, 0.95)
"""Confidences at which a report says how many answers are left and how many of them are right."""


class ClassRow(msgspec.Struct, frozen=True, kw_only=True):
    """One class of a classification report; `n` rows truly belong to it."""

    label: str
    precision: float
    recall: float
    f1: float
    n: int


class Covered(msgspec.Struct, frozen=True, kw_only=True):
    """What is left when only answers at least this sure are given."""

    confidence: float
    coverage: float
    accuracy: float
    n: int


def log_softmax(logits: Floats, temperature: float = 1.0) -> Floats:
    """Log-probabilities, shape as given, of logits divided by a temperature.

    >>> np.exp(log_softmax(np.array([[0.0, np.log(3.0)]]))).round(2).tolist()
    [[0.25, 0.75]]
    """
    scaled = np.asarray(logits, np.float64) / temperature
    shifted = scaled - scaled.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def confusion(truth: Ints, said: Ints, classes: int) -> Ints:
    """Counts of shape (classes, classes): row the true class, column the one that was said.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 1, 0]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    flat = np.bincount(truth * classes + said, minlength=classes * classes)
    return flat.reshape(classes, classes)


def f1_by_class(hits: Floats, said: Floats, true: Floats) -> Floats:
    """F1 from counts of right answers, of answers and of rows by class (last axis); 0 for none.

    >>> f1_by_class(np.array([1.0, 0.0]), np.array([2.0, 0.0]), np.array([1.0, 0.0])).tolist()
    [0.6666666666666666, 0.0]
    """
    below = said + true
    return np.asarray(np.divide(2 * hits, below, out=np.zeros_like(below), where=below > 0))


def macro_f1(truth: Ints, said: Ints, classes: int) -> float:
    """Mean F1 over the classes that occur in the truth or the answers.

    Source: Opitz and Burst 2019 ("Macro F1 and Macro F1"), the mean of F1 values.

    >>> round(macro_f1(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), 2), 4)
    0.7333
    """
    table = confusion(truth, said, classes).astype(np.float64)
    answered, true = table.sum(axis=0), table.sum(axis=1)
    occurs = answered + true > 0
    return float(f1_by_class(np.diag(table), answered, true)[occurs].mean()) if len(truth) else 0.0


def class_report(truth: Ints, said: Ints, labels: tuple[str, ...]) -> list[ClassRow]:
    """Precision, recall and F1 of every class, in the order of the labels.

    >>> row = class_report(np.array([0, 1, 1]), np.array([0, 1, 0]), ("a", "b"))[1]
    >>> row.label, row.precision, row.recall, round(row.f1, 3), row.n
    ('b', 1.0, 0.5, 0.667, 2)
    """
    table = confusion(truth, said, len(labels)).astype(np.float64)
    hits, answered, true = np.diag(table), table.sum(axis=0), table.sum(axis=1)
    f1 = f1_by_class(hits, answered, true)
    return [
        ClassRow(
            label=label,
            precision=float(hits[i] / max(1.0, answered[i])),
            recall=float(hits[i] / max(1.0, true[i])),
            f1=float(f1[i]),
            n=int(true[i]),
        )
        for i, label in enumerate(labels)
    ]


def row_log_loss(log_probs: Floats, truth: Ints) -> Floats:
    """Minus the log-probability of the true class, per row.

    >>> row_log_loss(np.log([[0.25, 0.75]]), np.array([1])).round(3).tolist()
    [0.288]
    """
    return np.asarray(-log_probs[np.arange(len(truth)), truth])


def row_brier(log_probs: Floats, truth: Ints) -> Floats:
    """Squared distance of the probabilities to the truth, per row, from 0 to 2.

    Source: Brier 1950, equation 2 (the sum over classes).

    >>> row_brier(np.log([[0.25, 0.75]]), np.array([1])).round(3).tolist()
    [0.125]
    """
    chances = np.exp(log_probs)
    chances[np.arange(len(truth)), truth] -= 1.0
    return np.asarray((chances**2).sum(axis=1))


def calibration_error(confidence: Floats, right: Floats, bins: int = 15) -> float:
    """Mean gap between confidence and share of right answers, over bins of equal width.

    Source: Guo, Pleiss, Sun, Weinberger 2017, equation 3 (ECE).

    >>> round(calibration_error(np.array([0.9, 0.9, 0.6]), np.array([1.0, 0.0, 1.0])), 3)
    0.4
    """
    if not len(confidence):
        return 0.0
    place = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    gaps = np.bincount(place, confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def coverage(confidence: Floats, right: Floats, at: tuple[float, ...] = SURE) -> list[Covered]:
    """How many answers stay, and how many of them are right, at each confidence asked for.

    >>> coverage(np.array([0.9, 0.6]), np.array([1.0, 0.0]), at=(0.7,))[0].coverage
    0.5
    """
    found = []
    for least in at:
        kept = confidence >= least
        n = int(kept.sum())
        found.append(
            Covered(
                confidence=least,
                coverage=n / max(1, len(kept)),
                accuracy=float(right[kept].mean()) if n else 0.0,
                n=n,
            )
        )
    return found


def fit_temperature(logits: Floats, truth: Ints) -> float:
    """The temperature, 0.05 to 20, under which the rows' log loss is least; 1 without rows.

    The loss is convex in 1/temperature, so a golden-section search on it finds the one minimum.
    Source: Guo, Pleiss, Sun, Weinberger 2017, section 4.2; Kiefer 1953.

    >>> sure = np.array([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [4.0, 0.0]])
    >>> round(fit_temperature(sure, np.array([0, 0, 0, 1])), 2)  # three of four: odds 3, not e⁴
    3.64
    """
    if not len(truth):
        return 1.0

    def loss(inverse: float) -> float:
        return float(row_log_loss(log_softmax(logits, 1 / inverse), truth).mean())

    low, high, ratio = 0.05, 20.0, (5**0.5 - 1) / 2
    while high - low > 1e-4:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return 2 / (low + high)


def ranks(values: Floats) -> Floats:
    """Ranks from 1, equal values sharing their mean rank.

    >>> ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place])


def spearman(said: Floats, truth: Floats) -> float:
    """Correlation of the ranks; 0 when either side is constant.

    >>> round(spearman(np.array([1.0, 2.0, 9.0]), np.array([10.0, 20.0, 21.0])), 3)
    1.0
    """
    a, b = ranks(said), ranks(truth)
    a, b = a - a.mean(), b - b.mean()
    below = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / below if below > 0 else 0.0


def regression(said: Floats, truth: Floats) -> dict[str, float]:
    """MAE, RMSE, R² and Spearman's correlation.

    >>> found = regression(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]))
    >>> round(found["mae"], 3), round(found["rmse"], 3), found["r2"]
    (0.333, 0.577, 0.5)
    """
    error = said - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "r2": 1 - float((error**2).sum()) / spread if spread > 0 else 0.0,
        "spearman": spearman(said, truth),
    }


def ndcg_by_group(scores: Floats, grades: Floats, groups: list[str], k: int = 10) -> Floats:
    """NDCG@k of every group, in the order of their sorted names; NaN where nothing is relevant.

    >>> ndcg_by_group(np.array([2.0, 1.0]), np.array([1.0, 0.0]), ["q", "q"]).tolist()
    [1.0]
    """
    names, place = np.unique(np.asarray(groups), return_inverse=True)
    rows = [np.flatnonzero(place == one) for one in range(len(names))]
    found = [ndcg(scores[each], grades[each], k) for each in rows]
    return np.array([np.nan if one is None else one for one in found])
