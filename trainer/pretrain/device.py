"""Where a training runs: the device, its precision, and the processes that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.distributed as dist

from trainer.processes import pick_device


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Products in bfloat16 where asked for, or where `auto` finds a GPU that has it.

    On a CPU `auto` stays with float32, whose sums a small network is surer of.
    """
    able = device.type == "cuda" and torch.cuda.is_bf16_supported()
    if precision == "bfloat16" or (precision == "auto" and able):
        found: AbstractContextManager[object] = torch.autocast(device.type, dtype=torch.bfloat16)
        return found
    return nullcontext()


@contextmanager
def joined_processes() -> Iterator[None]:
    """Joins the processes that torchrun started, for the block; alone, it does nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        yield
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        if torch.cuda.is_available():
            torch.cuda.set_device(pick_device())
        yield
    finally:
        dist.destroy_process_group()
