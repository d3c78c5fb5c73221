"""Several processes that train one model, as torchrun starts them; alone without it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import distributed

from trainer.processes import average, world


def join_workers() -> None:
    """Joins the group that torchrun's variables describe, if they are there."""
    if "WORLD_SIZE" in os.environ and not distributed.is_initialized():
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def mean_gradients(parameters: Iterable[Any]) -> None:
    """Gives every process the mean of all gradients, in one message."""
    if world() == 1:
        return
    moved = [one for one in parameters if one.requires_grad]
    for one in moved:
        if one.grad is None:
            one.grad = torch.zeros_like(one)
    flat = torch.cat([one.grad.flatten() for one in moved])
    average(flat)
    for one, part in zip(moved, flat.split([one.numel() for one in moved]), strict=True):
        one.grad.copy_(part.view_as(one))
