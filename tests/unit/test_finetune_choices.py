from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from finetune_factory import small_corpus, small_encoder

from trainer.corpus.examples import Corpus
from trainer.finetune.losses import Batch, thinned, weighted_loss
from trainer.finetune.model import TextModel
from trainer.finetune.rows import epoch_batches
from trainer.finetune.settings import FinetuneSettings
from trainer.finetune.stage import finetune
from trainer.task import Task

QUICK = FinetuneSettings(epochs=1, batch_rows=12, learning_rate=1e-3, check_every=0.5)
CHOICES: tuple[dict[str, Any], ...] = (
    {"adversarial": "pgd", "optimizer": "adafactor", "decay": "cosine"},
    {"average": "swa", "layer_decay": 0.8, "label_smoothing": 0.1},
    {"unlabelled": "pseudo", "confidence": 0.4, "curriculum": "easy_first"},
    {"ensemble": 2, "curriculum": "corrections_last", "precision": "float32"},
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return small_corpus()


def tuned(changes: dict[str, Any], corpus: Corpus, encoder: Path, folder: Path) -> bytes:
    how = msgspec.structs.replace(QUICK, **changes)
    finetune(Task(task="t", kind="classify", finetune=how), corpus, encoder, folder)
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def plain(corpus: Corpus, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return tuned({}, corpus, encoder, tmp_path_factory.mktemp("plain") / "model")


@pytest.mark.parametrize("changes", CHOICES)
def test_every_choice_changes_the_weights(
    changes: dict[str, Any], corpus: Corpus, encoder: Path, tmp_path: Path, plain: bytes
) -> None:
    assert tuned(changes, corpus, encoder, tmp_path / "model") != plain


def test_the_same_training_gives_the_same_bytes(
    corpus: Corpus, encoder: Path, tmp_path: Path, plain: bytes
) -> None:
    assert tuned({}, corpus, encoder, tmp_path / "model") == plain


def test_patience_stops_a_training_that_no_longer_gets_better(
    corpus: Corpus, encoder: Path, tmp_path: Path
) -> None:
    stuck = {"learning_rate": 0.0, "head_rate": 0.0, "l2": 0.0, "patience": 2, "epochs": 1e6}
    tuned(stuck, corpus, encoder, tmp_path / "model")
    assert TextModel.load(tmp_path / "model").logits(corpus.valid).shape == (12, 3)


def test_an_example_of_weight_zero_teaches_nothing() -> None:
    raw = torch.zeros((2, 3), requires_grad=True)
    ids = torch.zeros((2, 1), dtype=torch.int64)
    batch = Batch(ids, ids, torch.tensor([0, 1]), torch.tensor([1.0, 0.0]))
    weighted_loss(raw, batch, 0.0).backward()
    assert raw.grad[0].abs().sum() > 0
    assert raw.grad[1].abs().sum() == 0


def test_a_difficulty_orders_the_quarters_of_an_epoch() -> None:
    hardness = np.arange(40.0)[::-1].copy()
    batches = epoch_batches(np.full(40, 5), 5, (0, 0), hardness)
    assert set(np.concatenate(batches[:2])) == set(range(30, 40))
    assert sorted(np.concatenate(batches)) == list(range(40))


def test_a_batch_holds_texts_of_like_length() -> None:
    lengths = np.arange(64) % 8
    assert all(len(set(lengths[rows])) == 1 for rows in epoch_batches(lengths, 8, (0, 3)))


def test_thinning_keeps_the_ends_and_the_order() -> None:
    row = list(range(100))
    (short,) = thinned([row], (1, 2))
    assert short[0] == 0
    assert short[-1] == 99
    assert short == sorted(short)
    assert 70 < len(short) < 98
