"""Learning rates: which parameter moves how fast, and how that changes from step to step."""

from __future__ import annotations

import math
import re
from typing import Any

import torch

from trainer.finetune.model import TextModel
from trainer.finetune.settings import FinetuneSettings


def factor(step: int, total: int, warmup: float, decay: str) -> float:
    """What the rates are multiplied by at a step counted from 0: up in a line, then down.

    >>> [factor(s, 10, 0.2, "linear") for s in (0, 1, 2, 6)]
    [0.5, 1.0, 1.0, 0.5]
    >>> round(factor(6, 10, 0.2, "cosine"), 3)
    0.5
    """
    rising = round(warmup * total)
    if step < rising:
        return (step + 1) / rising
    past = (step - rising) / max(1, total - rising)
    if decay == "linear":
        return 1.0 - past
    return 0.5 * (1.0 + math.cos(math.pi * past)) if decay == "cosine" else 1.0


def rate_of(name: str, layers: int, how: FinetuneSettings) -> float:
    """The highest rate of a parameter by its name in the model.

    *Source:* Howard and Ruder, ULMFiT, 2018 (slower layers below).

    >>> how = FinetuneSettings(learning_rate=2e-5, layer_decay=0.5)
    >>> rate_of("network.encoder.layer.0.output.dense.weight", 2, how)
    1e-05
    """
    if name.startswith("head."):
        return how.head_rate
    if name.startswith("added.") or "lora_" in name:
        return how.tuning_rate
    at = re.search(r"\.(?:layer|layers|h)\.(\d+)\.", name)
    depth = layers - int(at.group(1)) - 1 if at else layers
    return how.learning_rate * how.layer_decay**depth


def make_optimizer(model: TextModel, how: FinetuneSettings) -> Any:
    """An optimiser with a group per rate and decay; biases and norms are not decayed."""
    layers = int(getattr(model.network.config, "num_hidden_layers", 1))
    groups: dict[tuple[float, float], list[Any]] = {}
    for name, one in model.named_parameters():
        if one.requires_grad:
            key = rate_of(name, layers, how), how.l2 if one.ndim > 1 else 0.0
            groups.setdefault(key, []).append(one)
    listed = [
        {"params": found, "lr": rate, "base": rate, "weight_decay": decay}
        for (rate, decay), found in groups.items()
    ]
    if how.optimizer == "adafactor":
        return torch.optim.Adafactor(listed)
    return torch.optim.AdamW(listed, fused=True)


def set_rates(optimizer: Any, by: float) -> None:
    """Sets every group's rate to its highest times a factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["base"] * by
