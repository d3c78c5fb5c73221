"""The two networks of a search version: one turns a text into a vector, one judges a pair.

Both are ordinary encoders; the second reads query and product as one text and has a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from schemas.errors import BadSettings
from trainer.pretrain.encoder import Encoder, encode_batch, load_encoder, pool, save_encoder

HEAD = "head.safetensors"
ROWS = 64
Precision = Literal["float32", "bfloat16"]
Vectors = NDArray[np.float32]


class VectorModel(nn.Module):  # type: ignore[misc]
    """An encoder whose answer is a vector of length one, shape (batch, width)."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.network = encoder.network

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Token ids (B, L) to vectors (B, width)."""
        hidden = self.network(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        pooled = pool(hidden, attention_mask, self.encoder.pooling).float()
        return nn.functional.normalize(pooled, dim=1)

    def save(self, folder: Path) -> None:
        """Writes a Hugging Face directory."""
        save_encoder(self.encoder, folder)


class PairModel(nn.Module):  # type: ignore[misc]
    """An encoder over query and product with a head of one output, shape (batch, 1)."""

    def __init__(self, encoder: Encoder, seed: int = 7) -> None:
        super().__init__()
        self.encoder = encoder
        self.network = encoder.network
        self.head = nn.Linear(encoder.width, 1)
        nn.init.normal_(self.head.weight, std=0.02, generator=torch.Generator().manual_seed(seed))
        nn.init.zeros_(self.head.bias)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Token ids (B, L) of pairs to logits (B, 1)."""
        hidden = self.network(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        logits: Tensor = self.head(pool(hidden, attention_mask, self.encoder.pooling).float())
        return logits

    def save(self, folder: Path) -> None:
        """Writes a Hugging Face directory with the head beside it."""
        save_encoder(self.encoder, folder)
        save_file({name: one.contiguous() for name, one in self.head.state_dict().items()},
                  folder / HEAD)  # fmt: skip


def load_vectors(folder: Path) -> VectorModel:
    """What `VectorModel.save` wrote, in evaluation mode."""
    model = VectorModel(load_encoder(folder))
    model.eval()
    return model


def load_pairs(folder: Path) -> PairModel:
    """What `PairModel.save` wrote, in evaluation mode.

    Raises:
        BadSettings: the folder has no head, or one of another width.
    """
    model = PairModel(load_encoder(folder))
    try:
        model.head.load_state_dict(load_file(folder / HEAD))
    except (OSError, RuntimeError) as error:
        raise BadSettings(f"{folder / HEAD}: {error}") from error
    model.eval()
    return model


def computing(precision: Precision) -> Any:
    """The context in which a network runs: bfloat16 for its matrix products, or float32 for all."""
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")


def vectors(
    model: VectorModel, texts: Sequence[str], length: int, precision: Precision = "float32"
) -> Vectors:
    """A vector per text, shape (n, width); texts of like length go together, to pad little."""
    found = np.zeros((len(texts), model.encoder.width), dtype=np.float32)
    for rows in _alike(texts):
        ids, mask = encode_batch(model.encoder, [texts[i] for i in rows], length=length)
        with torch.inference_mode(), computing(precision):
            found[rows] = model(ids, mask).float().numpy()
    return found


def pair_logits(
    model: PairModel,
    queries: Sequence[str],
    products: Sequence[str],
    length: int,
    precision: Precision = "float32",
) -> NDArray[np.float64]:
    """The cross-encoder's answer for each pair, shape (n,)."""
    found = np.zeros(len(queries))
    for rows in _alike(products):
        ids, mask = encode_batch(
            model.encoder, [queries[i] for i in rows], [products[i] for i in rows], length
        )
        with torch.inference_mode(), computing(precision):
            found[rows] = model(ids, mask)[:, 0].float().numpy()
    return found


def _alike(texts: Sequence[str]) -> list[NDArray[np.int64]]:
    order = np.argsort([len(text) for text in texts], kind="stable")
    return [order[start : start + ROWS] for start in range(0, len(order), ROWS)]
