"""The `[pretrain]` section of a task file."""

from __future__ import annotations

from typing import Literal

import msgspec


class PretrainSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the encoder is pre-trained; `start` is a local Hugging Face directory to go on from.

    Without `start` a tokenizer and a network of `layers` by `width` are made here. No `objective`
    leaves the start as it is. The rate rises over `warm_up` of the steps, then falls to nothing.
    `precision` is that of the products: `auto` is bfloat16 on a GPU that has it, else float32. A
    checkpoint is written every `checkpoint_steps` steps; `most_steps` above zero ends earlier.
    """

    objective: Literal["mlm", "causal", "denoising", "none"] = "mlm"
    start: str = ""
    layers: int = 2
    width: int = 128
    heads: int = 2
    vocabulary: int = 8_000
    length: int = 128
    epochs: float = 1.0
    batch_tokens: int = 8_192
    learning_rate: float = 5e-4
    warm_up: float = 0.06
    dropout: float = 0.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    checkpoint_steps: int = 200
    most_steps: int = 0
