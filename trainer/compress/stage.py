"""Makes smaller versions of a fine-tuned model, measures each, and says which to serve.

Losses that decide are measured on the validation part, which no version was fitted on; those on
the test part are only reported.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from adapters.onnx_text import TextGraph
from core.pareto import Measured, choose, dominated
from core.text_gate import HeldOut
from core.text_metrics import Floats
from schemas.models import Variant
from trainer.compress.cut import cut_neurons, keep_layers, kept_layers, layers_of, zero_smallest
from trainer.compress.distill import distill
from trainer.compress.int8 import int8_graph
from trainer.compress.measure import compared, side_by_side
from trainer.corpus.examples import Corpus, Example
from trainer.finetune.added import Added
from trainer.finetune.model import TextModel
from trainer.judge.export import graph_outputs, text_graph, tokens_of
from trainer.judge.figures import figures_of, held_out, judged_rows
from trainer.judge.stage import aligned
from trainer.task import Task

WHOLE, ZERO = "fp32", "zero"
PARETO = "pareto.json"
IMPORTANCE_ROWS = 512


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One version in the table; `test` holds its figures on the test part."""

    variant: Variant
    dominated_by: str = ""
    test: dict[str, float] = {}


def compress(task: Task, corpus: Corpus, model_folder: Path, folder: Path) -> list[Variant]:
    """Writes a graph per version and the table; the first version is the whole one."""
    folder.mkdir(parents=True, exist_ok=True)
    model = TextModel.load(model_folder)
    graphs: dict[str, bytes] = {}
    for name, network in networks(task, corpus, model):
        graphs[name] = text_graph(network)
        if name != WHOLE:
            network.save(folder / name)
        if task.compress.int8 and not name.startswith(ZERO):
            graphs[f"{name}-int8"] = int8_graph(graphs[name])
        if task.compress.int8 and name == WHOLE:
            graphs[f"{name}-int8-matrices"] = int8_graph(graphs[name], tables=False)
    lines = measure_all(task, corpus, model, graphs)
    for name, data in graphs.items():
        (folder / f"{name}.onnx").write_bytes(data)
    partial = folder / f"{PARETO}.partial"
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(lines)))
    partial.replace(folder / PARETO)
    return [line.variant for line in lines]


def networks(task: Task, corpus: Corpus, model: TextModel) -> Iterator[tuple[str, TextModel]]:
    """The whole network, then every smaller one that the task asks for.

    A network with adapters or a prefix is not cut: what was added belongs to its own layers.
    """
    yield WHOLE, model
    if model.card.added != Added():
        return
    settings = task.compress
    for share in settings.zero:
        yield f"{ZERO}{round(100 * share)}", zero_smallest(model, share)
    texts = _training_tokens(task, corpus, model)
    all_layers = range(len(layers_of(model)))
    for share in settings.prune:
        cut = cut_neurons(model, share, texts[:IMPORTANCE_ROWS])
        yield from _cut_and_taught(
            f"prune{round(100 * share)}", task, model, cut, texts, all_layers
        )
    for keep in settings.layers:
        cut, kept = keep_layers(model, keep), kept_layers(len(all_layers), keep)
        yield from _cut_and_taught(f"layers{keep}", task, model, cut, texts, kept)


def measure_all(
    task: Task, corpus: Corpus, model: TextModel, graphs: dict[str, bytes]
) -> list[Line]:
    """The table of these graphs, the first of which is the whole one."""
    valid, test = (judged_rows(corpus, part) for part in (corpus.valid, corpus.test))
    running = [TextGraph(data) for data in graphs.values()]
    took = side_by_side(running, tokens_of(model, valid[:65]))
    held, held_test = held_out(corpus, valid), held_out(corpus, test)
    said = [_said(graph, model, valid, corpus) for graph in running]
    found = [
        compared(name, held, said[0], said[i], (len(data), took[i]), task.seed)
        for i, (name, data) in enumerate(graphs.items())
    ]
    tested = [figures_of(held_test, _said(graph, model, test, corpus)) for graph in running]
    return _lines(found, held, tested, task.compress.largest_loss)


def _said(graph: TextGraph, model: TextModel, rows: list[Example], corpus: Corpus) -> Floats:
    return aligned(graph_outputs(graph, model, rows), model.card.labels, corpus.labels)


def _lines(
    found: list[Measured], held: HeldOut, tested: list[dict[str, float]], largest_loss: float
) -> list[Line]:
    chosen, refused = choose(found, largest_loss)
    beaten = dominated(found)
    metric = "accuracy" if held.classes else "error"
    return [
        Line(
            variant=Variant(
                name=one.name, chosen=one.name == chosen, size_bytes=one.size_bytes,
                latency_ms=round(one.latency_ms, 3), metric=metric, loss=one.loss, low=one.low,
                high=one.high, passed=one.name not in refused, reason=refused.get(one.name, ""),
            ),
            dominated_by=beaten.get(one.name, ""),
            test=figures,
        )
        for one, figures in zip(found, tested, strict=True)
    ]  # fmt: skip


def _cut_and_taught(
    name: str,
    task: Task,
    model: TextModel,
    cut: TextModel,
    texts: list[list[int]],
    kept: list[int] | range,
) -> Iterator[tuple[str, TextModel]]:
    yield name, cut
    if task.compress.distill:
        taught = distill(model, copy.deepcopy(cut), texts, list(kept), task.compress, task.seed)
        yield f"{name}-taught", taught


def _training_tokens(task: Task, corpus: Corpus, model: TextModel) -> list[list[int]]:
    rows = [*corpus.train, *corpus.unlabelled]
    chosen = np.random.default_rng(task.seed).permutation(len(rows))[: task.compress.distill_rows]
    return tokens_of(model, [rows[int(i)] for i in chosen])
