"""Smaller versions of a text model: what each is, what it loses, and which is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from adapters.onnx_text import TextGraph
from tests.unit.text_model_factory import LABELS, corpus, fitted, untrained
from trainer.compress.cut import cut_neurons, keep_layers, layers_of, zero_smallest
from trainer.compress.distill import distill
from trainer.compress.int8 import int8_graph
from trainer.compress.settings import CompressSettings
from trainer.compress.stage import Line, compress
from trainer.corpus.examples import Corpus
from trainer.finetune.model import TextModel
from trainer.judge.export import graph_outputs, largest_difference, text_graph, tokens_of
from trainer.task import Task

SETTINGS = CompressSettings(
    prune=(0.5,), zero=(0.5,), layers=(1,), distill=True, distill_epochs=2,
    distill_learning_rate=1e-3, largest_loss=0.05,
)  # fmt: skip


@dataclass(frozen=True)
class Made:
    folder: Path
    data: Corpus
    model: TextModel
    lines: dict[str, Line]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder, data = tmp_path_factory.mktemp("compressed"), corpus()
    fitted(data).save(folder / "model")
    task = Task(task="intent", kind="classify", compress=SETTINGS)
    compress(task, data, folder / "model", folder / "variants")
    table = (folder / "variants" / "pareto.json").read_bytes()
    lines = msgspec.json.decode(table, type=list[Line])
    model = TextModel.load(folder / "model")
    return Made(folder, data, model, {one.variant.name: one for one in lines})


def test_table_holds_every_version_with_its_interval_and_one_choice(made: Made) -> None:
    networks = ("fp32", "prune50", "prune50-taught", "layers1", "layers1-taught")
    forms = {f"{one}{form}" for one in networks for form in ("", "-int8")}
    assert set(made.lines) == forms | {"zero50", "fp32-int8-matrices"}
    variants = [line.variant for line in made.lines.values()]
    assert sum(one.chosen for one in variants) == 1
    assert all(one.low <= one.loss <= one.high for one in variants)
    assert all(one.passed != bool(one.reason) for one in variants)
    chosen = next(one for one in variants if one.chosen)
    assert chosen.latency_ms == min(one.latency_ms for one in variants if one.passed)


def test_version_that_loses_too_much_is_refused_with_its_reason(made: Made) -> None:
    random = np.random.default_rng(1)
    broken = untrained()
    with torch.no_grad():
        broken.head.weight.copy_(torch.from_numpy(random.normal(size=(3, 32))).float())
    from trainer.compress.stage import measure_all

    task = Task(task="intent", kind="classify", compress=SETTINGS)
    graphs = {"fp32": text_graph(made.model), "broken": text_graph(broken)}
    _, line = measure_all(task, made.data, made.model, graphs)
    assert not line.variant.passed
    assert not line.variant.chosen
    assert line.variant.reason.startswith("may lose 0.")
    assert line.variant.loss > 0.3


def test_int8_graph_is_smaller_and_close(made: Made) -> None:
    whole = text_graph(made.model)
    small = int8_graph(whole)
    assert len(small) < len(whole)
    said, expected = (
        graph_outputs(TextGraph(one), made.model, made.data.valid) for one in (small, whole)
    )
    assert (said.argmax(1) == expected.argmax(1)).mean() > 0.97
    assert int8_graph(whole) == small


def test_cut_layers_and_neurons_are_gone_and_the_copy_saves(made: Made, tmp_path: Path) -> None:
    tokens = tokens_of(made.model, made.data.train[:50])
    shallow, narrow = keep_layers(made.model, 1), cut_neurons(made.model, 0.5, tokens)
    assert len(layers_of(shallow)) == 1
    assert layers_of(narrow)[0].intermediate.dense.weight.shape == (32, 32)
    assert len(layers_of(made.model)) == 2
    for one in (shallow, narrow):
        one.save(tmp_path / "cut")
        again = TextModel.load(tmp_path / "cut")
        difference = largest_difference(again.logits(made.data.test), one.logits(made.data.test))
        assert difference < 1e-5


def test_cutting_neurons_that_never_fire_changes_nothing(made: Made) -> None:
    model = TextModel.load(made.folder / "model")
    with torch.no_grad():
        for layer in layers_of(model):
            layer.output.dense.weight[:, 32:] = 0.0
    cut = cut_neurons(model, 0.5, tokens_of(model, made.data.train[:50]))
    difference = largest_difference(cut.logits(made.data.test), model.logits(made.data.test))
    assert difference < 1e-5


def test_half_of_the_weights_are_zero_after_unstructured_pruning(made: Made) -> None:
    weight = layers_of(zero_smallest(made.model, 0.5))[0].output.dense.weight
    assert abs(float((weight == 0).float().mean()) - 0.5) < 0.01


def test_student_learns_its_teachers_answers_from_texts_alone(made: Made) -> None:
    tokens = tokens_of(made.model, made.data.train)
    student = untrained()
    student.head.load_state_dict(made.model.head.state_dict())
    student.card = msgspec.structs.replace(student.card, temperature=made.model.card.temperature)
    truth = made.model.logits(made.data.test).argmax(1)
    before = (student.logits(made.data.test).argmax(1) == truth).mean()
    settings = msgspec.structs.replace(SETTINGS, distill_epochs=4, distill_learning_rate=3e-3)
    taught = distill(made.model, student, tokens, [0, 1], settings, seed=3)
    after = (taught.logits(made.data.test).argmax(1) == truth).mean()
    assert after > 0.9 > before
    assert len(LABELS) == taught.card.outputs
