"""A text encoder goes to a Hugging Face directory and comes back the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from schemas.errors import BadSettings
from trainer.pretrain.encoder import Encoder, encode_batch, load_encoder, pool, save_encoder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "lamp", "good", "bad"]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    from transformers import BertConfig, BertModel

    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
    )
    return Encoder(BertModel(config, add_pooling_layer=False).eval(), tokenizer, "cls")


@pytest.fixture(scope="module")
def folder(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder")
    save_encoder(encoder, path)
    return path


def _vectors(encoder: Encoder, texts: list[str]) -> torch.Tensor:
    ids, mask = encode_batch(encoder, texts)
    with torch.no_grad():
        hidden = encoder.network(input_ids=ids, attention_mask=mask).last_hidden_state
    return pool(hidden, mask, encoder.pooling)


def test_a_saved_encoder_gives_the_same_vectors(encoder: Encoder, folder: Path) -> None:
    back = load_encoder(folder)
    assert back.pooling == "cls"
    assert back.width == 8
    texts = ["red lamp", "bad"]
    torch.testing.assert_close(_vectors(back, texts), _vectors(encoder, texts))


def test_the_directory_is_one_that_transformers_loads(encoder: Encoder, folder: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    batch = tokenizer(["red lamp", "bad"], padding=True, return_tensors="pt")
    ids, mask = encode_batch(encoder, ["red lamp", "bad"])
    assert torch.equal(batch["input_ids"], ids)
    assert torch.equal(batch["attention_mask"], mask)
    network = AutoModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False)
    hidden = network(**batch).last_hidden_state
    torch.testing.assert_close(pool(hidden, mask, "cls"), _vectors(encoder, ["red lamp", "bad"]))


def test_saving_twice_gives_the_same_bytes(encoder: Encoder, folder: Path, tmp_path: Path) -> None:
    save_encoder(load_encoder(folder), tmp_path)
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes(), path.name


def test_pairs_are_joined_and_cut_to_the_length(encoder: Encoder) -> None:
    ids, mask = encode_batch(encoder, ["red lamp", "bad"], ["good", "good lamp lamp lamp"], 6)
    assert ids.tolist()[0] == [2, 5, 6, 3, 7, 3]
    assert mask.sum(1).tolist() == [6, 6]


def test_pooling_sees_no_padding() -> None:
    hidden = torch.tensor([[[1.0], [3.0], [99.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert pool(hidden, mask, "mean").tolist() == [[2.0]]
    assert pool(hidden, mask, "last").tolist() == [[3.0]]
    assert pool(hidden, mask, "cls").tolist() == [[1.0]]


def test_a_folder_without_weights_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="tokenizer"):
        load_encoder(tmp_path)
