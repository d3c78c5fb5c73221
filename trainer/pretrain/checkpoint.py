"""One checkpoint file: tensors and JSON in one safetensors file, so it is replaced as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import torch


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a training is. Chance follows from `seed` and `steps`, so no generator is kept."""

    plan: str
    """Digest of everything that the training was told; another one's checkpoint is not used."""
    seed: int
    steps: int
    losses: list[float]


def write_checkpoint(path: Path, progress: Progress, state: Mapping[str, torch.Tensor]) -> None:
    """Writes the file beside its place, then moves it there."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    save_file(tensors, partial, metadata={"progress": msgspec.json.encode(progress).decode()})
    partial.replace(path)


def read_checkpoint(path: Path, plan: str) -> tuple[Progress, dict[str, torch.Tensor]] | None:
    """Progress and state; None where there is no checkpoint of this plan."""
    from safetensors import safe_open

    if not path.exists():
        return None
    with safe_open(path, framework="pt") as opened:
        said = opened.metadata() or {}
        progress = msgspec.json.decode(said.get("progress", "null"), type=Progress | None)
        if progress is None or progress.plan != plan:
            return None
        return progress, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
