"""Vectors of an encoder that does not move, computed once and kept beside the model's folder.

Every member of an ensemble, every method tried on the same encoder and a training that goes on
after a kill start from the same vectors.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from trainer.finetune.model import TextModel, run_rows

Features = NDArray[np.float32]


def features_of(
    model: TextModel, tokens: tuple[list[list[int]], ...], bf16: bool, path: Path
) -> tuple[Features, ...]:
    """One array of shape (rows, width) per part, from the file if it was made from the same."""
    if model.card.added.prefix:  # its drawn tokens are part of what the network answers
        return tuple(run_rows(model, model.features, rows, bf16=bf16) for rows in tokens)
    fingerprint = _fingerprint(model, tokens, bf16)
    kept = _read(path, fingerprint, len(tokens))
    if kept is None:
        kept = tuple(run_rows(model, model.features, rows, bf16=bf16) for rows in tokens)
        _write(path, fingerprint, kept)
    return kept


def _read(path: Path, fingerprint: str, parts: int) -> tuple[Features, ...] | None:
    if not path.exists():
        return None
    try:
        with safe_open(str(path), framework="numpy") as opened:
            if (opened.metadata() or {}).get("fingerprint") != fingerprint:
                return None
            return tuple(opened.get_tensor(str(at)) for at in range(parts))
    except SafetensorError:
        return None


def _write(path: Path, fingerprint: str, kept: tuple[Features, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    named = {str(at): np.ascontiguousarray(one) for at, one in enumerate(kept)}
    save_file(named, str(partial), metadata={"fingerprint": fingerprint})
    partial.replace(path)


def _fingerprint(model: TextModel, tokens: tuple[list[list[int]], ...], bf16: bool) -> str:
    made = hashlib.sha256(msgspec.json.encode((tokens, bf16, model.card.pooling)))
    for name, one in sorted(model.network.state_dict().items()):
        made.update(name.encode())
        made.update(one.cpu().contiguous().numpy().tobytes())
    return made.hexdigest()
