"""The judge of text models: candidate, champion and plain baselines on the same held-out rows.

The candidate's temperature is fitted on validation and kept in its folder; every answer is the
served graph's. Choices are made nowhere here: the test part is only looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.onnx_text import TextGraph, milliseconds
from core.gate import GRAPH_TOLERANCE, at_most, verdict
from core.text_gate import (
    HeldOut,
    calibration_check,
    fairness_checks,
    log_loss_check,
    rival_checks,
    slice_checks,
)
from core.text_metrics import (
    Floats,
    class_report,
    confusion,
    coverage,
    fit_temperature,
    log_softmax,
)
from schemas.models import GateCheck
from trainer.corpus.examples import Corpus, Example
from trainer.finetune.model import CARD, TextModel
from trainer.judge.export import (
    GRAPH_FILE,
    graph_outputs,
    largest_difference,
    text_graph,
    tokens_of,
)
from trainer.judge.figures import figures_of, held_out, judged_rows, slice_figures
from trainer.judge.report import Report, most_confused, write_report
from trainer.judge.rivals import PRIOR, TFIDF, class_indices, prior_outputs, tfidf_outputs
from trainer.task import Task

CHAMPION, REFIT = "champion", "champion_refit"
UNKNOWN_CLASS = -30.0
"""Log-odds of a class that an older model does not know."""


@dataclass(frozen=True)
class Candidate:
    """A candidate as served: its graph and what graph and network say of the test rows."""

    model: TextModel
    graph: bytes
    outputs: Floats
    difference: float
    figure_difference: float
    latency_ms: float


def judge(
    task: Task,
    corpus: Corpus,
    model_folder: Path,
    champion_folder: Path | None,
    folder: Path,
    refit_folder: Path | None = None,
) -> Report:
    """Judges the model of a folder and writes report.json, report.txt and the graph as served.

    `refit_folder` holds the champion's recipe fitted on the candidate's data, where there is one.
    """
    rows = judged_rows(corpus, corpus.test)
    held = held_out(corpus, rows)
    calibrate(corpus, model_folder)
    candidate = _candidate(corpus, model_folder, rows, held)
    rivals = _rivals(task, corpus, rows, {CHAMPION: champion_folder, REFIT: refit_folder})
    checks = [
        *rival_checks(held, candidate.outputs, rivals, task.gate.margin, task.seed),
        *_slices(task, held, candidate.outputs, rivals),
        *_costs(task, candidate),
        at_most("leaked_texts", leaked_share(corpus), task.gate.largest_leak),
    ]
    if corpus.labels:
        checks += _confidence_checks(task, held, candidate, rivals)
    report = _report(task, corpus, held, candidate, rivals, checks)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / GRAPH_FILE).write_bytes(candidate.graph)
    write_report(report, folder)
    return report


def calibrate(corpus: Corpus, model_folder: Path) -> float:
    """Fits a classifier's temperature on the validation part and keeps it in head.json."""
    model = TextModel.load(model_folder)
    rows = judged_rows(corpus, corpus.valid)
    if model.card.kind != "classify" or not rows:
        return 1.0
    raw = model.logits(rows).astype(np.float64) * model.card.temperature
    temperature = fit_temperature(raw, class_indices(rows, model.card.labels))
    card = msgspec.structs.replace(model.card, temperature=round(temperature, 4))
    (model_folder / CARD).write_bytes(msgspec.json.format(msgspec.json.encode(card)))
    return card.temperature


def leaked_share(corpus: Corpus) -> float:
    """Share of the test texts (with their pairs) that also stand in the training part.

    Case, punctuation and spaces make no difference.
    """
    known = {_plain(one) for one in corpus.train}
    return sum(_plain(one) in known for one in corpus.test) / max(1, len(corpus.test))


def aligned(outputs: NDArray[Any], labels: tuple[str, ...], wanted: tuple[str, ...]) -> Floats:
    """A classifier's columns in another order of labels; unknown classes are next to impossible.

    >>> aligned(np.array([[1.0, 2.0]]), ("a", "b"), ("b", "c")).tolist()
    [[2.0, -30.0]]
    """
    if not wanted or labels == wanted:
        return np.asarray(outputs, np.float64)
    found = np.full((len(outputs), len(wanted)), UNKNOWN_CLASS)
    for place, label in enumerate(wanted):
        if label in labels:
            found[:, place] = outputs[:, labels.index(label)]
    return found


def _candidate(corpus: Corpus, model_folder: Path, rows: list[Example], held: HeldOut) -> Candidate:
    model = TextModel.load(model_folder)
    data = text_graph(model)
    graph = TextGraph(data)
    served, trained = graph_outputs(graph, model, rows), model.logits(rows)
    outputs, torch_outputs = (
        aligned(each, model.card.labels, corpus.labels) for each in (served, trained)
    )
    figures = [figures_of(held, each) for each in (outputs, torch_outputs)]
    names = ("accuracy", "macro_f1") if held.classes else ("spearman",)
    return Candidate(
        model=model,
        graph=data,
        outputs=outputs,
        difference=largest_difference(served, trained),
        figure_difference=max(abs(figures[0][name] - figures[1][name]) for name in names),
        latency_ms=milliseconds(graph, tokens_of(model, rows[:60])),
    )


def _rivals(
    task: Task, corpus: Corpus, rows: list[Example], folders: dict[str, Path | None]
) -> dict[str, Floats]:
    found = {
        PRIOR: prior_outputs(corpus, rows),
        TFIDF: tfidf_outputs(corpus, rows, task.language),
    }
    for name, folder in folders.items():
        if folder is not None:
            model = TextModel.load(folder)
            found[name] = aligned(model.logits(rows), model.card.labels, corpus.labels)
    return found


def _slices(
    task: Task, held: HeldOut, outputs: Floats, rivals: dict[str, Floats]
) -> list[GateCheck]:
    rival = rivals.get(CHAMPION, rivals[TFIDF])
    gate = task.gate
    return [
        *slice_checks(held, outputs, rival, gate.slice_margin, task.seed),
        *fairness_checks(held, outputs, gate.largest_gap, gate.largest_group_error, task.seed),
    ]


def _costs(task: Task, candidate: Candidate) -> list[GateCheck]:
    return [
        at_most("graph_equals_torch", candidate.difference, GRAPH_TOLERANCE),
        at_most("graph_figures_equal", candidate.figure_difference, 0.0),
        at_most("latency_ms", candidate.latency_ms, task.gate.slowest_ms),
        at_most("graph_bytes", float(len(candidate.graph)), task.gate.largest_bytes),
    ]


def _confidence_checks(
    task: Task, held: HeldOut, candidate: Candidate, rivals: dict[str, Floats]
) -> list[GateCheck]:
    truth, limit = held.truth.astype(np.int64), task.gate.largest_calibration_error
    # The graph's logits are already divided by the temperature.
    checks = [calibration_check(candidate.outputs, truth, 1.0, task.seed, limit)]
    if CHAMPION in rivals:
        margin = task.gate.slice_margin
        champion = rivals[CHAMPION]
        checks.append(log_loss_check(held, candidate.outputs, champion, margin, task.seed))
    return checks


def _report(
    task: Task,
    corpus: Corpus,
    held: HeldOut,
    candidate: Candidate,
    rivals: dict[str, Floats],
    checks: list[GateCheck],
) -> Report:
    outputs = candidate.outputs
    figures = figures_of(held, outputs)
    report = Report(
        task=task.task,
        gate=verdict(checks),
        figures={**figures, "rows": float(len(held.truth)), "latency_ms": candidate.latency_ms},
        rivals={name: figures_of(held, each) for name, each in rivals.items()},
        by_slice=slice_figures(held, outputs),
        temperature=candidate.model.card.temperature,
    )
    if not corpus.labels:
        return report
    truth, said = held.truth.astype(np.int64), outputs.argmax(axis=1)
    table = confusion(truth, said, held.classes).tolist()
    sure = np.exp(log_softmax(outputs).max(axis=1))
    return msgspec.structs.replace(
        report,
        classes=class_report(truth, said, corpus.labels),
        confusion=table,
        confused=most_confused(table, corpus.labels),
        coverage=coverage(sure, np.asarray(truth == said, np.float64)),
    )


def _plain(one: Example) -> str:
    return re.sub(r"\W+", " ", f"{one.text}\n{one.pair}".casefold()).strip()
