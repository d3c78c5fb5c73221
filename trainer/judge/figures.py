"""The figures of one model's answers to the test rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.text_gate import HeldOut
from core.text_metrics import (
    Floats,
    calibration_error,
    log_softmax,
    macro_f1,
    ndcg_by_group,
    regression,
    row_brier,
    row_log_loss,
)
from trainer.corpus.examples import Corpus, Example
from trainer.judge.rivals import class_indices, values_of


def held_out(corpus: Corpus, rows: Sequence[Example]) -> HeldOut:
    """The truth of the rows; errors of a number are scaled by the training values' spread."""
    units = [one.group or one.example_id for one in rows]
    slices = [one.slice for one in rows]
    if corpus.labels:
        truth = class_indices(rows, corpus.labels).astype(np.float64)
        return HeldOut(truth, units, slices, classes=len(corpus.labels))
    spread = float(np.nanstd(values_of(corpus.train))) or 1.0
    return HeldOut(values_of(rows), units, slices, scale=spread)


def judged_rows(corpus: Corpus, rows: Sequence[Example]) -> list[Example]:
    """The rows that can be judged: those with a known label, or with a value."""
    if corpus.labels:
        return [one for one in rows if one.label in set(corpus.labels)]
    return [one for one in rows if one.value is not None]


def figures_of(held: HeldOut, outputs: Floats) -> dict[str, float]:
    """Accuracy, macro-F1 and how honest the confidences are, or errors and ranking of a number."""
    if not held.classes:
        return _number_figures(held, outputs[:, 0])
    truth = held.truth.astype(np.int64)
    log_probs = log_softmax(outputs)
    said, sure = outputs.argmax(axis=1), np.exp(log_probs.max(axis=1))
    return {
        "accuracy": float((said == truth).mean()),
        "macro_f1": macro_f1(truth, said, held.classes),
        "log_loss": float(row_log_loss(log_probs, truth).mean()),
        "brier": float(row_brier(log_probs, truth).mean()),
        "calibration_error": calibration_error(sure, np.asarray(said == truth, np.float64)),
    }


def slice_figures(held: HeldOut, outputs: Floats) -> dict[str, dict[str, float]]:
    """Rows and quality of each slice: accuracy, or mean absolute error."""
    quality = held.quality(outputs)
    names = np.asarray(held.slices)
    found = {}
    for name in sorted(set(held.slices) - {""}):
        mean = float(quality[names == name].mean())
        said = {"accuracy": mean} if held.classes else {"mae": -mean * held.scale}
        found[name] = {"n": float((names == name).sum()), **said}
    return found


def _number_figures(held: HeldOut, said: Floats) -> dict[str, float]:
    found = regression(said, held.truth)
    if len(set(held.units)) < len(held.units):  # rows of one query stand in one list
        by_list = ndcg_by_group(said, held.truth, list(held.units))
        if not np.isnan(by_list).all():
            found["ndcg10"] = float(np.nanmean(by_list))
    return found
