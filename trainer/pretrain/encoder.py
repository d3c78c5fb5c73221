"""A text encoder with its tokenizer, kept as a standard Hugging Face directory.

`transformers` is imported where it is used: it takes seconds. Nothing is ever looked up on a hub.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from tokenizers import Tokenizer

from schemas.errors import BadSettings

Pooling = Literal["mean", "cls", "last"]
PADS = ("[PAD]", "<pad>")
_NAMES = {
    "pad_token": PADS,
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}
_MODES = {
    "mean": "pooling_mode_mean_tokens",
    "cls": "pooling_mode_cls_token",
    "last": "pooling_mode_lasttoken",
}


@dataclass(frozen=True)
class Encoder:
    """A network and the tokenizer it was trained with.

    `network` is a transformers model whose call with `input_ids` and `attention_mask` has
    `last_hidden_state`, shape (batch, length, width). A causal network is pooled by its `last`
    token, the only one that has seen the whole text, or by the `mean` of all.
    """

    network: Any
    tokenizer: Tokenizer
    pooling: Pooling = "mean"

    @property
    def width(self) -> int:
        """Numbers per token that the network gives."""
        return int(self.network.config.hidden_size)

    @property
    def longest(self) -> int:
        """Most tokens that the network has places for."""
        return int(getattr(self.network.config, "max_position_embeddings", 512))


def load_encoder(folder: Path) -> Encoder:
    """The encoder of a local Hugging Face or sentence-transformers directory, in evaluation mode.

    Raises:
        BadSettings: the folder lacks the configuration, the weights or `tokenizer.json`.
    """
    missing = [name for name in ("config.json", "tokenizer.json") if not (folder / name).exists()]
    if missing:
        raise BadSettings(f"{folder} is no Hugging Face directory: it lacks {', '.join(missing)}")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    try:
        network = _load_network(folder)
    except OSError as error:
        raise BadSettings(f"{folder}: the network cannot be loaded: {error}") from error
    return Encoder(network.eval(), tokenizer, _read_pooling(folder))


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Writes a directory that AutoModel, AutoTokenizer and sentence-transformers load."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder.network.save_pretrained(folder)
    _write_tokenizer(encoder, folder)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(listed, indent=2))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    modes: dict[str, Any] = {mode: name == encoder.pooling for name, mode in _MODES.items()}
    modes["word_embedding_dimension"] = encoder.width
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes, indent=2))


def encode_batch(
    encoder: Encoder, texts: Sequence[str], pairs: Sequence[str] | None = None, length: int = 128
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, int64 of shape (n, longest), padded on the right.

    Texts, with their pairs where given, are cut to `length` tokens, the longer of two first.
    """
    encoder.tokenizer.enable_truncation(min(length, encoder.longest))
    both = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
    found = [one.ids for one in encoder.tokenizer.encode_batch(both)]
    longest = max(map(len, found), default=0)
    ids = torch.full((len(found), longest), pad_id(encoder.tokenizer), dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(found):
        ids[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.int64)
        mask[row, : len(tokens)] = 1
    return ids, mask


def pool(hidden: torch.Tensor, attention_mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """One vector per text, shape (batch, width), from those of its tokens."""
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        last = attention_mask.sum(1).sub(1).clamp(min=0)
        at = last[:, None, None].expand(-1, 1, hidden.shape[-1])
        return hidden.gather(1, at).squeeze(1)
    weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1.0)


def pad_id(tokenizer: Tokenizer) -> int:
    """The id that fills a batch up; 0 where the tokenizer names none (it is masked anyway)."""
    return special_id(tokenizer, "pad_token") or 0


def special_id(tokenizer: Tokenizer, role: str) -> int | None:
    """The id of a special token by its role, such as `mask_token`, under either of its names."""
    found = (tokenizer.token_to_id(name) for name in _NAMES[role])
    return next((one for one in found if one is not None), None)


def _load_network(folder: Path) -> Any:
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    # A sentence encoder's pooler is not used; without it no weight is made up at loading.
    more = {"add_pooling_layer": False} if config.model_type in ("bert", "roberta") else {}
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        return AutoModel.from_pretrained(
            folder, config=config, local_files_only=True, dtype=torch.float32, **more
        )
    finally:
        logging.set_verbosity(before)


def _write_tokenizer(encoder: Encoder, folder: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer.from_str(encoder.tokenizer.to_str())
    plain.no_padding()
    plain.no_truncation()
    known = {
        role: next(name for name in names if plain.token_to_id(name) is not None)
        for role, names in _NAMES.items()
        if special_id(plain, role) is not None
    }
    fast = PreTrainedTokenizerFast(
        tokenizer_object=plain,
        model_max_length=encoder.longest,
        # Every text is one segment here, with or without a pair.
        model_input_names=["input_ids", "attention_mask"],
        **known,
    )
    fast.save_pretrained(folder)
    plain.save(str(folder / "tokenizer.json"))


def _read_pooling(folder: Path) -> Pooling:
    """What the directory says of pooling; `mean` where it says nothing that is known here."""
    path = folder / "1_Pooling" / "config.json"
    said: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
    named = said.get("pooling_mode")
    found = (name for name, mode in _MODES.items() if said.get(mode) or named == name)
    return cast(Pooling, next(found, "mean"))
