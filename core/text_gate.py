"""The offline gate of a text model: what its candidate is compared with, and what it must hold to.

Rivals answer the same test rows and every difference is paired, its interval from whole groups
drawn anew where rows belong together. It knows no model and no file, only answers and truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.gate import MINIMUM_REQUESTS, ROUNDS, Compared, not_worse
from core.text_metrics import (
    Floats,
    Ints,
    calibration_error,
    f1_by_class,
    log_softmax,
    row_log_loss,
)
from schemas.models import GateCheck

LARGEST_CALIBRATION_ERROR = 0.1


@dataclass(frozen=True)
class HeldOut:
    """The rows a candidate is judged on: their classes or values, and what they belong to.

    `scale` turns errors of numbers into standard deviations of the training part, so that one
    margin serves ratings and prices.
    """

    truth: Floats
    units: Sequence[str]
    slices: Sequence[str]
    classes: int = 0
    scale: float = 1.0

    def quality(self, outputs: Floats) -> Floats:
        """What is compared per row: 1 for a right class, or minus the scaled absolute error."""
        if self.classes:
            return np.asarray(outputs.argmax(axis=1) == self.truth, np.float64)
        return np.asarray(-np.abs(outputs[:, 0] - self.truth) / self.scale)


def rival_checks(
    rows: HeldOut, candidate: Floats, rivals: dict[str, Floats], margin: float, seed: int
) -> list[GateCheck]:
    """The candidate against each rival: not worse by the margin, and surely above the prior.

    A model trained on shuffled labels knows no more than `prior` and stops at that check.
    """
    name = "accuracy" if rows.classes else "error"
    checks = []
    for rival, outputs in rivals.items():
        compared = Compared(rows.quality(candidate), rows.quality(outputs), rows.units)
        asked = 0.0 if rival == "prior" else margin
        checks.append(not_worse(f"{name}_vs_{rival}", compared, seed, asked))
        if rows.classes and rival != "prior":
            checks.append(_f1_check(f"macro_f1_vs_{rival}", rows, candidate, outputs, margin, seed))
    return checks


def slice_checks(
    rows: HeldOut, candidate: Floats, rival: Floats, margin: float, seed: int
) -> list[GateCheck]:
    """One check per slice: not worse than the rival there; small slices are named as not judged.

    >>> rows = HeldOut(np.zeros(40), [str(i) for i in range(40)], ["a"] * 39 + ["b"], classes=2)
    >>> said = np.tile([1.0, 0.0], (40, 1))
    >>> [(c.name, c.passed, c.n) for c in slice_checks(rows, said, said, 0.05, 1)]
    [('slice_a', True, 39), ('slice_b', True, 1)]
    """
    mine, theirs = rows.quality(candidate), rows.quality(rival)
    checks = []
    for name, at in _slices(rows).items():
        there = Compared(mine[at], theirs[at], [rows.units[i] for i in at])
        if len(at) < MINIMUM_REQUESTS:
            checks.append(_not_judged(f"slice_{name}", -margin, len(at)))
        else:
            checks.append(not_worse(f"slice_{name}", there, seed, margin))
    return checks


def fairness_checks(
    rows: HeldOut,
    candidate: Floats,
    largest_gap: float | None,
    largest_error: float | None,
    seed: int,
) -> list[GateCheck]:
    """Limits on what any one group of people may suffer: its error, and the gap to the best served.

    Groups are the slices with enough rows. A limit of None is not set and gives no check.

    >>> names = [str(i) for i in range(80)]
    >>> rows = HeldOut(np.zeros(80), names, ["a"] * 40 + ["b"] * 40, classes=2)
    >>> said = np.vstack([np.tile([1.0, 0.0], (40, 1)), np.tile([0.0, 1.0], (40, 1))])
    >>> [(c.name, c.passed, c.value) for c in fairness_checks(rows, said, 0.3, None, 1)]
    [('largest_gap', False, 1.0)]
    """
    errors = 1.0 - rows.quality(candidate) if rows.classes else -rows.quality(candidate)
    groups = {name: at for name, at in _slices(rows).items() if len(at) >= MINIMUM_REQUESTS}
    if not groups:
        return []
    means = {name: float(errors[at].mean()) for name, at in groups.items()}
    worst, best = max(means, key=lambda g: means[g]), min(means, key=lambda g: means[g])
    random = np.random.default_rng(seed)
    drawn = {name: _redrawn_means(errors[groups[name]], random) for name in {worst, best}}
    checks = []
    if largest_gap is not None:
        gap = drawn[worst] - drawn[best]
        value = means[worst] - means[best]
        n = len(groups[worst]) + len(groups[best])
        checks.append(_limit("largest_gap", value, largest_gap, gap, n, f"{worst} to {best}"))
    if largest_error is not None:
        n = len(groups[worst])
        checks.append(
            _limit("largest_group_error", means[worst], largest_error, drawn[worst], n, worst)
        )
    return checks


def calibration_check(
    logits: Floats, truth: Ints, temperature: float, seed: int, limit: float
) -> GateCheck:
    """Whether the confidences mean what they say, after the temperature."""
    chances = np.exp(log_softmax(logits, temperature))
    sure, right = chances.max(axis=1), np.asarray(chances.argmax(axis=1) == truth, np.float64)
    random = np.random.default_rng(seed)
    draws = [random.integers(0, len(sure), len(sure)) for _ in range(ROUNDS // 4)]
    redrawn = np.array([calibration_error(sure[at], right[at]) for at in draws])
    value = calibration_error(sure, right)
    return _limit("calibration_error", value, limit, redrawn, len(sure), f"at {temperature:.3f}")


def log_loss_check(
    rows: HeldOut, candidate: Floats, rival: Floats, margin: float, seed: int
) -> GateCheck:
    """Log-probability of the truth, candidate against champion, both as served."""
    truth = rows.truth.astype(np.int64)
    mine, theirs = (-row_log_loss(log_softmax(each), truth) for each in (candidate, rival))
    return not_worse("log_prob_vs_champion", Compared(mine, theirs, rows.units), seed, margin)


def f1_difference(
    rows: HeldOut, candidate: Floats, rival: Floats, seed: int
) -> tuple[float, float, float]:
    """Difference of two macro-F1 with its 95 % bounds, the same rows drawn for both.

    Source: Efron and Tibshirani 1993, chapter 13 (percentile bounds).

    >>> rows = HeldOut(np.array([0.0, 1.0]), ["x", "y"], ["", ""], classes=2)
    >>> right, wrong = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> f1_difference(rows, right, wrong, seed=1)
    (1.0, 1.0, 1.0)
    """
    names, unit = np.unique(np.asarray(rows.units), return_inverse=True)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=ROUNDS)
    # The rows once as they are, then each redrawn set: shape (1 + rounds, rows).
    weights = np.vstack([np.ones(len(names)), drawn])[:, unit].astype(np.float32)
    both = [_weighted_f1(rows, outputs, weights) for outputs in (candidate, rival)]
    difference = both[0] - both[1]
    low, high = np.quantile(difference[1:], [0.025, 0.975])
    return float(difference[0]), float(low), float(high)


def _weighted_f1(rows: HeldOut, outputs: Floats, weights: NDArray[np.float32]) -> Floats:
    eye = np.eye(rows.classes, dtype=np.float32)
    truth, said = rows.truth.astype(np.int64), outputs.argmax(axis=1)
    true, answered, hits = (
        np.asarray(each, np.float64)
        for each in (
            weights @ eye[truth],
            weights @ eye[said],
            (weights * (truth == said)) @ eye[truth],
        )
    )
    occurs = (true + answered > 0).sum(axis=1)
    return np.asarray(f1_by_class(hits, answered, true).sum(axis=1) / np.maximum(1, occurs))


def _f1_check(
    name: str, rows: HeldOut, candidate: Floats, rival: Floats, margin: float, seed: int
) -> GateCheck:
    value, low, high = f1_difference(rows, candidate, rival, seed)
    n = len(rows.truth)
    passed = n >= MINIMUM_REQUESTS and low > -margin
    return GateCheck(
        name=name, passed=passed, value=value, threshold=-margin, low=low, high=high, n=n,
        detail="superior" if passed and low > 0 else "",
    )  # fmt: skip


def _slices(rows: HeldOut) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for i, name in enumerate(rows.slices):
        if name:
            found.setdefault(name, []).append(i)
    return dict(sorted(found.items()))


def _redrawn_means(values: Floats, random: np.random.Generator) -> Floats:
    at = random.integers(0, len(values), (ROUNDS, len(values)))
    return np.asarray(values[at].mean(axis=1))


def _limit(
    name: str, value: float, threshold: float, redrawn: Floats, n: int, detail: str
) -> GateCheck:
    low, high = np.quantile(redrawn, [0.025, 0.975])
    return GateCheck(
        name=name, passed=value <= threshold, value=value, threshold=threshold, low=float(low),
        high=float(high), n=n, detail=detail,
    )  # fmt: skip


def _not_judged(name: str, threshold: float, n: int) -> GateCheck:
    detail = f"not judged: {n} rows < {MINIMUM_REQUESTS}"
    return GateCheck(name=name, passed=True, value=0.0, threshold=threshold, n=n, detail=detail)
