from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from finetune_factory import small_corpus, small_encoder

from schemas.errors import BadSettings
from trainer.corpus.examples import Corpus, Example
from trainer.finetune.model import TextModel, padded, token_ids
from trainer.finetune.settings import FinetuneSettings, Method
from trainer.finetune.stage import finetune
from trainer.task import Task

METHODS: tuple[Method, ...] = ("full", "frozen", "adapter", "prefix", "lora", "adalora")
QUICK = FinetuneSettings(
    epochs=3,
    batch_rows=12,
    learning_rate=3e-3,
    head_rate=1e-2,
    tuning_rate=1e-2,
    rank=2,
    bottleneck=4,
    prefix=2,
)


def task(kind: str = "classify", **changes: object) -> Task:
    import msgspec

    how = msgspec.structs.replace(QUICK, **changes)
    return Task(task="t", kind=kind, finetune=how)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return small_corpus()


@pytest.mark.parametrize("method", METHODS)
def test_a_method_learns_and_its_saved_model_answers_the_same(
    method: Method, encoder: Path, corpus: Corpus, tmp_path: Path
) -> None:
    figures = finetune(task(method=method), corpus, encoder, tmp_path / "model")
    model = TextModel.load(tmp_path / "model")
    found = model.logits(corpus.valid).argmax(1)
    assert figures["valid_accuracy"] == pytest.approx(
        np.mean(
            [corpus.labels[at] == one.label for at, one in zip(found, corpus.valid, strict=True)]
        )
    )
    assert figures["valid_accuracy"] > 0.5


@pytest.mark.parametrize("method", ["adapter", "prefix", "lora"])
def test_what_a_method_adds_is_part_of_the_graph(
    method: Method, encoder: Path, corpus: Corpus, tmp_path: Path
) -> None:
    finetune(task(method=method, epochs=1), corpus, encoder, tmp_path / "model")
    model = TextModel.load(tmp_path / "model")
    ids, mask = padded(token_ids(model.encoder, corpus.valid, 32), 0)
    names, sizes = ["input_ids", "attention_mask"], {0: "batch", 1: "length"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (ids, mask),
            str(tmp_path / "graph.onnx"),
            dynamo=False,
            input_names=names,
            dynamic_axes=dict.fromkeys(names, sizes),
        )
    session = onnxruntime.InferenceSession(tmp_path / "graph.onnx")
    fed = dict(zip(names, (ids[:5].numpy(), mask[:5].numpy()), strict=True))
    served = session.run(None, fed)[0]
    np.testing.assert_allclose(served, model.logits(corpus.valid)[:5], atol=1e-4)


def test_a_regression_answers_in_the_values_own_unit(
    encoder: Path, corpus: Corpus, tmp_path: Path
) -> None:
    figures = finetune(task("regress"), corpus, encoder, tmp_path / "model")
    values = TextModel.load(tmp_path / "model").logits(corpus.valid)[:, 0]
    wanted = np.asarray([one.value for one in corpus.valid])
    assert figures["valid_rmse"] == pytest.approx(
        np.sqrt(np.mean((values - wanted) ** 2)), rel=1e-3
    )
    assert figures["valid_rmse"] < float(np.std(wanted))


def test_a_pair_is_read_with_its_text(encoder: Path, corpus: Corpus, tmp_path: Path) -> None:
    model = finetune(task(method="frozen"), corpus, encoder, tmp_path / "model") and TextModel.load(
        tmp_path / "model"
    )
    alone, paired = (
        Example(example_id="1", text="lost card", pair=pair) for pair in ("", "refund")
    )
    first, second = model.logits([alone, paired])
    assert not np.allclose(first, second)


def test_a_task_without_labels_is_refused(encoder: Path, corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="search"):
        finetune(task("search"), corpus, encoder, tmp_path)
