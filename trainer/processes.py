"""The processes that torchrun started to train one model together, and the device each works on.

Alone, without torchrun, everything here does nothing.
"""

from __future__ import annotations

import os

import torch
from torch import distributed


def pick_device() -> torch.device:
    """The GPU of this process, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def together() -> bool:
    """Whether this process is in a group."""
    return bool(distributed.is_available() and distributed.is_initialized())


def rank() -> int:
    """This process's number in its group; 0 writes what is written."""
    return distributed.get_rank() if together() else 0


def world() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if together() else 1


def wait_for_all() -> None:
    """Returns once every process is here."""
    if world() > 1:
        distributed.barrier()


def average(gradient: torch.Tensor) -> None:
    """Replaces a gradient by its mean over all processes."""
    if (count := world()) > 1:
        distributed.all_reduce(gradient)
        gradient.div_(count)
