"""A small fine-tuned model before the judge: graph, rivals, refusals, and what is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from adapters.onnx_text import TextGraph
from tests.unit.text_model_factory import LABELS, corpus, fitted, untrained
from trainer.corpus.examples import Corpus, Example
from trainer.finetune.model import HeadCard, TextModel
from trainer.judge.export import graph_outputs, largest_difference, text_graph
from trainer.judge.hugging_face import export_hugging_face
from trainer.judge.report import Report, read_report
from trainer.judge.settings import GateSettings
from trainer.judge.stage import aligned, judge, leaked_share
from trainer.task import Task


@dataclass(frozen=True)
class Judged:
    folder: Path
    data: Corpus
    report: Report


TASK = Task(task="intent", kind="classify", gate=GateSettings(largest_calibration_error=0.2))


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    folder = tmp_path_factory.mktemp("judged")
    data = corpus()
    fitted(data).save(folder / "model")
    report = judge(TASK, data, folder / "model", folder / "model", folder / "judged")
    return Judged(folder, data, report)


def test_honest_candidate_passes_beside_champion_and_baselines(judged: Judged) -> None:
    assert judged.report.gate.passed, judged.report.gate.reason
    assert set(judged.report.rivals) == {"prior", "tfidf", "champion"}
    assert judged.report.figures["accuracy"] > 0.9
    assert {"slice_even", "slice_odd"} <= {one.name for one in judged.report.checks}


def test_candidate_trained_on_shuffled_labels_is_refused(judged: Judged) -> None:
    shuffled = corpus(honest=False)
    folder = judged.folder / "shuffled"
    fitted(shuffled).save(folder / "model")
    report = judge(TASK, judged.data, folder / "model", None, folder / "judged")
    assert not report.gate.passed
    failed = {one.name for one in report.checks if not one.passed}
    assert {"accuracy_vs_prior", "accuracy_vs_tfidf"} <= failed


def test_report_is_read_back_and_told_to_people(judged: Judged) -> None:
    assert read_report(judged.folder / "judged") == judged.report
    told = (judged.folder / "judged" / "report.txt").read_text()
    assert told.startswith("intent: passed")
    assert "precision" in told
    assert sum(map(sum, judged.report.confusion)) == 400


def test_temperature_is_kept_in_the_model_and_inside_the_graph(judged: Judged) -> None:
    model = TextModel.load(judged.folder / "model")
    assert model.card.temperature == judged.report.temperature != 1.0
    graph = TextGraph((judged.folder / "judged" / "text.onnx").read_bytes())
    said = graph_outputs(graph, model, judged.data.test)
    assert largest_difference(said, model.logits(judged.data.test)) < 1e-5
    warmer = msgspec.structs.replace(model.card, temperature=2 * model.card.temperature)
    model.card = warmer
    assert np.allclose(said, 2 * model.logits(judged.data.test), atol=1e-4)


@pytest.mark.parametrize(("kind", "pooling"), [("bert", "cls"), ("gpt2", "last"), ("gpt2", "mean")])
def test_graph_equals_torch_for_any_batch_and_length(kind: str, pooling: str) -> None:
    model = untrained(kind, pooling)
    data = text_graph(model)
    graph = TextGraph(data)
    texts = ["card", "w1 w2 w3 cash w4 w5 w6 w7 w8 w9 w10", "loan w1"]
    rows = [Example(example_id=text, text=text) for text in texts]
    for given in (rows, rows[:1], rows * 5):
        assert largest_difference(graph_outputs(graph, model, given), model.logits(given)) < 1e-5
    assert {node.domain for node in onnx.load_from_string(data).graph.node} == {""}
    assert text_graph(model) == data


@pytest.mark.parametrize(("kind", "pooling"), [("bert", "mean"), ("bert", "cls"), ("gpt2", "last")])
def test_other_stacks_answer_alike_by_the_lines_in_the_readme(
    kind: str, pooling: str, tmp_path: Path
) -> None:
    model = untrained(kind, pooling)
    model.card = msgspec.structs.replace(model.card, temperature=1.7)
    export_hugging_face(model, tmp_path)
    texts = ["card", "w1 w2 w3 cash w4"]
    said: dict[str, object] = {"folder": str(tmp_path), "texts": texts}
    told = (tmp_path / "README.md").read_text().split("```")[1].removeprefix("python\n")
    exec(told, said)
    expected = model.logits([Example(example_id=one, text=one) for one in texts])
    assert largest_difference(np.asarray(said["logits"]), expected) < 1e-5


def test_test_text_that_stands_in_training_counts_as_leaked() -> None:
    train = [Example(example_id="1", text="My card!", label="card")]
    test = [Example(example_id="2", text="my card", label="card")]
    assert leaked_share(Corpus(train=train, valid=[], test=test, labels=LABELS)) == 1.0


def test_champion_that_never_saw_a_class_never_names_it() -> None:
    said = aligned(np.array([[0.5, 1.0]]), ("card", "loan"), LABELS)
    assert said.tolist() == [[0.5, -30.0, 1.0]]


def test_number_is_judged_against_the_mean_and_ridge(tmp_path: Path) -> None:
    data = corpus()
    numbered = {
        part: [
            msgspec.structs.replace(one, value=float(LABELS.index(one.label)), label="")
            for one in getattr(data, part)
        ]
        for part in ("train", "valid", "test")
    }
    card = HeadCard(kind="regress", centre=1.0, scale=0.8)
    model = untrained()
    TextModel(model.encoder, card).save(tmp_path / "model")
    task = Task(task="stars", kind="regress")
    report = judge(task, Corpus(**numbered), tmp_path / "model", None, tmp_path / "judged")
    assert not report.gate.passed
    assert report.rivals["tfidf"]["mae"] < report.rivals["prior"]["mae"]
    assert {"mae", "rmse", "r2", "spearman"} <= set(report.figures)
