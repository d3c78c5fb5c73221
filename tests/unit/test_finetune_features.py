from __future__ import annotations

from pathlib import Path

import pytest
from finetune_factory import small_corpus, small_encoder

from trainer.finetune.features import features_of
from trainer.finetune.model import HeadCard, TextModel, run_rows, token_ids
from trainer.pretrain.encoder import load_encoder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    folder = small_encoder(tmp_path_factory.mktemp("encoder"))
    made = TextModel(load_encoder(folder), HeadCard(kind="classify", labels=("a", "b")))
    made.eval()
    return made


def test_features_of_a_still_encoder_are_computed_once(model: TextModel, tmp_path: Path) -> None:
    tokens = token_ids(model.encoder, small_corpus().valid, 32)
    path = tmp_path / "features.safetensors"
    (first,) = features_of(model, (tokens,), False, path)
    written = path.stat().st_mtime_ns
    (again,) = features_of(model, (tokens,), False, path)
    assert path.stat().st_mtime_ns == written
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() == run_rows(model, model.features, tokens).tobytes()


def test_features_of_other_texts_are_computed_anew(model: TextModel, tmp_path: Path) -> None:
    tokens = token_ids(model.encoder, small_corpus().valid, 32)
    path = tmp_path / "features.safetensors"
    features_of(model, (tokens,), False, path)
    (fewer,) = features_of(model, (tokens[:3],), False, path)
    assert fewer.shape == (3, 16)


def test_a_broken_file_of_features_is_made_again(model: TextModel, tmp_path: Path) -> None:
    tokens = token_ids(model.encoder, small_corpus().valid, 32)
    path = tmp_path / "features.safetensors"
    path.write_bytes(b"cut short")
    assert features_of(model, (tokens,), False, path)[0].shape == (12, 16)
