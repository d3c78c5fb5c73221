"""The gate of a search model: the served graphs against BM25 and the champion, query by query."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from adapters.onnx_text import TextGraph
from core.gate import at_most, verdict
from schemas.models import GateCheck, Variant
from trainer.corpus.examples import Corpus
from trainer.judge.report import Report, write_report
from trainer.search.export import in_int8, version_files
from trainer.search.judged import Floats, Judged, judged
from trainer.search.judging import (
    Graphs,
    Measures,
    measures,
    rerank_ms,
    rival_checks,
    served_scores,
    slice_checks,
)
from trainer.search.lexical import Words, words_of
from trainer.search.model import (
    CROSS,
    DENSE,
    SearchModel,
    blended,
    cross_scores,
    dense_scores,
    lexical_scores,
    load_search,
)
from trainer.search.published import PAIR_GRAPH, VECTOR_GRAPH
from trainer.task import Task

FORMS = "pareto.json"
GRAPH_NDCG_TOLERANCE = 1e-3
"""How far the served graphs' NDCG@10 may be from torch's: a near tie may turn, no more."""


def judge_search(
    task: Task, corpus: Corpus, model_folder: Path, champion_folder: Path | None, folder: Path
) -> Report:
    """Judges a search model on the test queries; writes the report and the files of the version.

    The files hold the int8 graphs where those pass the same ranking checks against the whole
    graphs, else the whole ones; pareto.json tells of both forms.
    """
    model = load_search(model_folder)
    rows = judged(corpus.train, corpus.valid, corpus.test)
    words = words_of(rows)
    part = rows.of_queries(np.flatnonzero(rows.part_of == 2))
    files = version_files(model)
    whole, small = _judged_graphs(task, model, (rows, words, part), files)
    rivals = {"bm25": whole.bm25}
    if champion_folder is not None:
        rivals["champion"] = _champion(task, champion_folder, (rows, words, part))
    kept = small if small.passed else whole
    checks = _checks(task, part, kept, rivals, whole)
    report = Report(
        task=task.task,
        gate=verdict(checks),
        figures={**_means(kept.hybrid), "rerank_50_ms": kept.rerank_ms,
                 "size_bytes": float(kept.size), "int8_served": float(small.passed),
                 **{f"int8_{name}": value for name, value in _means(small.hybrid).items()},
                 "int8_rerank_50_ms": small.rerank_ms, "int8_size_bytes": float(small.size)},
        rivals={name: _means(each) for name, each in rivals.items()} | {
            "whole_graphs": _means(whole.hybrid)},
    )  # fmt: skip
    write_report(report, folder)
    forms = [{"variant": one} for one in _forms(whole, small)]
    (folder / FORMS).write_bytes(msgspec.json.format(msgspec.json.encode(forms)))
    for name, data in {**files, **kept.files}.items():
        (folder / name).write_bytes(data)
    return report


class _Version(msgspec.Struct, frozen=True, kw_only=True):
    """What one pair of graphs reached, and whether it may be served instead of the whole ones."""

    hybrid: Measures
    bm25: Measures
    scores: Floats
    rerank_ms: float
    size: int
    files: dict[str, bytes] = {}
    passed: bool = True
    checks: list[GateCheck] = []


Scores = dict[str, Floats]
Held = tuple[Judged, Words, Judged]


def _judged_graphs(
    task: Task, model: SearchModel, held: Held, files: dict[str, bytes]
) -> tuple[_Version, _Version]:
    """The whole graphs, and those in int8 with the checks that they rank as well."""
    rows, words, part = held
    lexical = _of_part(lexical_scores(rows, words, model.card), rows)
    small_files = in_int8(files)
    whole = _version(task, model, part, lexical, files)
    small = _version(task, model, part, lexical, {**files, **small_files})
    checks = rival_checks(part, small.hybrid, {"whole": whole.hybrid}, task.gate.margin, task.seed)
    passed = all(check.passed for check in checks)
    return (
        msgspec.structs.replace(whole, checks=[_equal(task, model, part, lexical, whole)]),
        msgspec.structs.replace(small, files=small_files, passed=passed, checks=checks),
    )


def _version(
    task: Task,
    model: SearchModel,
    part: Judged,
    lexical: Scores,
    files: dict[str, bytes],
) -> _Version:
    graphs = Graphs(
        TextGraph(files[VECTOR_GRAPH]), TextGraph(files[PAIR_GRAPH]), model.vectors.encoder
    )
    scores = served_scores(graphs, lexical, part, model.card, model.blend)
    relevant = _relevant(task, model)
    return _Version(
        hybrid=measures(part, scores["hybrid"], relevant),
        bm25=measures(part, lexical[f"bm25_{model.card.best_bm25}"], relevant),
        scores=scores["hybrid"],
        rerank_ms=rerank_ms(graphs, part, model.card),
        size=sum(map(len, files.values())),
    )


def _equal(
    task: Task, model: SearchModel, part: Judged, lexical: Scores, whole: _Version
) -> GateCheck:
    """Mean NDCG@10 by the served graphs against that by torch, on the same queries."""
    scores = dict(lexical)
    scores[DENSE] = dense_scores(model.vectors, part, model.card)
    scores[CROSS] = cross_scores(model.pairs, part, model.card)
    theirs = measures(part, blended(scores, model.blend), _relevant(task, model))["ndcg10"]
    difference = float(np.nanmax(np.abs(theirs - whole.hybrid["ndcg10"])))
    return at_most("graph_ndcg10_difference", difference, GRAPH_NDCG_TOLERANCE)


def _champion(task: Task, folder: Path, held: Held) -> Measures:
    """What the champion says of the same queries, by its own card and blend."""
    rows, words, part = held
    model = load_search(folder)
    scores = _of_part(lexical_scores(rows, words, model.card), rows)
    scores[DENSE] = dense_scores(model.vectors, part, model.card)
    scores[CROSS] = cross_scores(model.pairs, part, model.card)
    return measures(part, blended(scores, model.blend), _relevant(task, model))


def _checks(
    task: Task, part: Judged, kept: _Version, rivals: dict[str, Measures], whole: _Version
) -> list[GateCheck]:
    gate, rival = task.gate, rivals.get("champion", rivals["bm25"])
    return [
        *rival_checks(part, kept.hybrid, rivals, gate.margin, task.seed),
        *slice_checks(part, kept.hybrid["ndcg10"], rival["ndcg10"], gate.slice_margin, task.seed),
        *whole.checks,
        at_most("rerank_50_ms", kept.rerank_ms, task.search.slowest_rerank_ms),
        at_most("size_bytes", float(kept.size), float(gate.largest_bytes)),
    ]


def _forms(whole: _Version, small: _Version) -> list[Variant]:
    """Both forms of the graphs as a manifest tells of them."""
    held = next(check for check in small.checks if check.name == "ndcg10_vs_whole")
    missed = ", ".join(check.name for check in small.checks if not check.passed)
    return [
        Variant(
            name="fp32", chosen=not small.passed, size_bytes=whole.size,
            latency_ms=round(whole.rerank_ms, 3), metric="ndcg10", passed=True,
        ),
        Variant(
            name="int8", chosen=small.passed, size_bytes=small.size,
            latency_ms=round(small.rerank_ms, 3), metric="ndcg10", loss=-held.value,
            low=-held.high, high=-held.low, passed=small.passed,
            reason=f"not shown to rank as well: {missed}" if missed else "",
        ),
    ]  # fmt: skip


def _of_part(scores: dict[str, Floats], rows: Judged) -> dict[str, Floats]:
    at = np.flatnonzero(rows.part_of[rows.query_of] == 2)
    return {name: each[at] for name, each in scores.items()}


def _relevant(task: Task, model: SearchModel) -> float:
    """The lowest grade, counted from nothing, that is a hit."""
    return task.search.relevant or model.card.highest


def _means(found: Measures) -> dict[str, float]:
    return {name: float(np.nanmean(each)) for name, each in found.items()}
