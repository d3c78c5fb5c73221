"""The `[finetune]` section of a task file."""

from __future__ import annotations

from typing import Literal

import msgspec

Method = Literal["full", "frozen", "adapter", "prefix", "lora", "adalora"]


class FinetuneSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the encoder is fitted to the task's labels."""

    method: Method = "full"
    epochs: float = 3.0
    batch_rows: int = 32
    length: int = 128
    learning_rate: float = 2e-5
    optimizer: Literal["adamw", "adafactor"] = "adamw"
