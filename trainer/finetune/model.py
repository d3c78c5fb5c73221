"""A text encoder with a head for labels or a number, and its saved form.

A folder holds the encoder as a Hugging Face directory, the head's weights in head.safetensors,
what adapters or a prefix add in added.safetensors, and the rest in head.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn

from schemas.errors import BadSettings
from trainer.corpus.examples import Example
from trainer.finetune.added import Added, add_parts
from trainer.pretrain.encoder import Encoder, load_encoder, pad_id, pool, save_encoder

HEAD, ADDED, CARD = "head.safetensors", "added.safetensors", "head.json"


class HeadCard(msgspec.Struct, frozen=True, kw_only=True):
    """What the head's numbers mean.

    A classifier's logits are divided by `temperature`; a regression's output is multiplied by
    `scale` and `centre` is added, both of the training values.
    """

    kind: Literal["classify", "regress"]
    labels: tuple[str, ...] = ()
    pooling: Literal["mean", "cls", "last"] = "mean"
    length: int = 128
    temperature: float = 1.0
    centre: float = 0.0
    scale: float = 1.0
    added: Added = Added()

    @property
    def outputs(self) -> int:
        """Numbers per text."""
        return len(self.labels) if self.kind == "classify" else 1


class TextModel(nn.Module):  # type: ignore[misc]  # torch comes without types here
    """Encoder, pooling, dropout, head; `forward` can be traced."""

    def __init__(self, encoder: Encoder, card: HeadCard, dropout: float = 0.0) -> None:
        super().__init__()
        self.network = encoder.network
        self.tokenizer = encoder.tokenizer
        self.card = card
        self.added = add_parts(encoder.network, card.added)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.width, card.outputs)

    @property
    def encoder(self) -> Encoder:
        """The encoder as it is now."""
        return Encoder(self.network, self.tokenizer, self.card.pooling)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        found: torch.device = self.head.weight.device
        return found

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Logits or values as they are served, shape (batch, outputs)."""
        raw = self.raw(input_ids, attention_mask)
        if self.card.kind == "classify":
            return raw / self.card.temperature
        return raw * self.card.scale + self.card.centre

    def raw(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """What the loss is of: the head's output as it is, shape (batch, outputs)."""
        return self.head(self.dropout(self.features(input_ids, attention_mask)))

    def features(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """One vector per text, shape (batch, width)."""
        prefix = self.card.added.prefix
        seen = attention_mask
        if prefix:  # learned tokens stand before the text and are always seen
            seen = torch.cat([torch.ones_like(seen[:, :1]).expand(-1, prefix), seen], dim=1)
        hidden = self.network(input_ids=input_ids, attention_mask=seen).last_hidden_state
        return pool(hidden[:, prefix:], attention_mask, self.card.pooling)

    def logits(self, examples: Sequence[Example], batch_rows: int = 64) -> NDArray[np.float32]:
        """What `forward` gives for the examples in their order, shape (n, outputs)."""
        tokens = token_ids(self.encoder, examples, self.card.length)
        return run_rows(self, self.forward, tokens, batch_rows)

    def save(self, folder: Path) -> None:
        """Writes the folder that `load` reads."""
        save_encoder(self.encoder, folder)
        save_file(_tensors(self.head), str(folder / HEAD))
        if len(self.added):
            save_file(_tensors(self.added), str(folder / ADDED))
        (folder / CARD).write_bytes(msgspec.json.format(msgspec.json.encode(self.card)))

    @classmethod
    def load(cls, folder: Path) -> TextModel:
        """The model of a folder, in evaluation mode.

        Raises:
            BadSettings: the folder holds no such model.
        """
        encoder = load_encoder(folder)
        try:
            card = msgspec.json.decode((folder / CARD).read_bytes(), type=HeadCard)
            model = cls(encoder, card)
            model.head.load_state_dict(load_file(str(folder / HEAD)))
            if len(model.added):
                model.added.load_state_dict(load_file(str(folder / ADDED)))
        except (OSError, msgspec.MsgspecError, RuntimeError) as error:
            raise BadSettings(f"{folder} holds no fine-tuned model: {error}") from error
        model.eval()
        return model


def token_ids(encoder: Encoder, examples: Sequence[Example], length: int) -> list[list[int]]:
    """The token ids of each example's text, with its pair where it has one."""
    encoder.tokenizer.enable_truncation(min(length, encoder.longest))
    texts = [(one.text, one.pair) if one.pair else one.text for one in examples]
    return [one.ids for one in encoder.tokenizer.encode_batch(texts)]


def padded(
    tokens: Sequence[Sequence[int]], fill: int, device: torch.device | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of a batch, int64 of shape (rows, longest)."""
    lengths = torch.tensor([len(one) for one in tokens])
    longest = int(lengths.max())
    mask = (torch.arange(longest) < lengths[:, None]).to(torch.int64)
    ids = torch.tensor([[*one, *[fill] * (longest - len(one))] for one in tokens])
    return ids.to(device), mask.to(device)


def run_rows(
    model: TextModel,
    function: Any,
    tokens: Sequence[Sequence[int]],
    batch_rows: int = 64,
    bf16: bool = False,
) -> NDArray[np.float32]:
    """A method of the model over all rows without gradients; rows of like length go together."""
    order = np.argsort([len(one) for one in tokens], kind="stable")
    was_training, fill = model.training, pad_id(model.tokenizer)
    model.eval()
    parts = []
    with torch.no_grad(), autocast(model.device, bf16):
        for start in range(0, len(order), batch_rows):
            rows = [tokens[at] for at in order[start : start + batch_rows]]
            parts.append(function(*padded(rows, fill, model.device)).float().cpu().numpy())
    model.train(was_training)
    if not parts:
        return np.zeros((0, model.card.outputs), dtype=np.float32)
    found = np.concatenate(parts)
    result = np.empty_like(found)
    result[order] = found
    return result


def autocast(device: torch.device, bf16: bool) -> Any:
    """Multiplies in bf16 inside the block, if asked to."""
    return torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: one.detach().cpu().contiguous().clone() for name, one in module.state_dict().items()
    }
