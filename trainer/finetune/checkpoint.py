"""A checkpoint of a fine-tuning: one safetensors file, renamed into place whole.

With it a training that was killed goes on and ends in the same bytes as one that was not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import safe_open
from safetensors.torch import save_file

Tensors = dict[str, torch.Tensor]


class Progress(msgspec.Struct, kw_only=True):
    """How far a fine-tuning is; `score` and `loss` of each check, in order."""

    step: int = 0
    best: float | None = None
    since_best: int = 0
    averaged: int = 0
    losses: list[float] = []
    scores: list[float] = []


def write_checkpoint(path: Path, fingerprint: str, progress: Progress, parts: Any) -> None:
    """Writes named groups of tensors and the progress.

    Args:
        path: of the file.
        fingerprint: of everything the training depends on; another one is not gone on from.
        progress: how far it is.
        parts: name of each group to its tensors by name.
    """
    flat = {
        f"{part}:{name}": one.detach().cpu().contiguous().clone()
        for part, tensors in parts.items()
        for name, one in tensors.items()
    }
    said = {"fingerprint": fingerprint, "progress": msgspec.json.encode(progress).decode()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(flat, str(partial), metadata=said)
    partial.replace(path)


def read_checkpoint(path: Path, fingerprint: str) -> tuple[Progress, dict[str, Tensors]] | None:
    """What was written for the same fingerprint, or nothing."""
    if not path.exists():
        return None
    parts: dict[str, Tensors] = {}
    with safe_open(str(path), framework="pt") as opened:
        said = opened.metadata() or {}
        if said.get("fingerprint") != fingerprint:
            return None
        for key in opened.keys():  # noqa: SIM118 - the file is no mapping
            part, name = key.split(":", 1)
            parts.setdefault(part, {})[name] = opened.get_tensor(key)
    return msgspec.json.decode(said["progress"], type=Progress), parts


def optimizer_tensors(optimizer: Any) -> Tensors:
    """An optimiser's state by parameter and name."""
    state = optimizer.state_dict()["state"]
    return {
        json.dumps([at, name]): torch.as_tensor(one)
        for at, kept in state.items()
        for name, one in kept.items()
        if one is not None
    }


def set_optimizer(optimizer: Any, tensors: Tensors) -> None:
    """Goes on from what `optimizer_tensors` gave."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, one in tensors.items():
        at, name = json.loads(key)
        state.setdefault(at, {})[name] = one
    whole = optimizer.state_dict()
    optimizer.load_state_dict({"state": state, "param_groups": whole["param_groups"]})
