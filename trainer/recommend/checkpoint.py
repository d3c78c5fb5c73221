"""Where a fit stands after each epoch, so that a killed training goes on instead of beginning anew.

One safetensors file holds the vectors and, as JSON in its header, the losses and the state of the
random generators: what comes after is what an uninterrupted fit would have done. A file of other
data, another recipe or a damaged one counts for nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

_GENERATOR = "torch_generator"


@dataclass(frozen=True)
class Progress:
    """What has been learned so far: vectors by name, a loss per epoch and, if kept, a tail's."""

    vectors: Mapping[str, Tensor]
    losses: tuple[float, ...]
    steps: int
    tails: tuple[float, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """One fit's file; `of` says what is fitted, so that nothing else goes on from it."""

    path: Path
    of: str

    def write(self, progress: Progress, random: np.random.Generator) -> None:
        """Replaces the file whole."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        header = {
            "of": self.of,
            "losses": json.dumps(progress.losses),
            "tails": json.dumps(progress.tails),
            "steps": str(progress.steps),
            "random": json.dumps(random.bit_generator.state),
        }
        partial = self.path.with_suffix(".partial")
        tensors = {**progress.vectors, _GENERATOR: torch.get_rng_state()}
        save_file(tensors, partial, metadata=header)
        partial.replace(self.path)

    def resume(self, random: np.random.Generator) -> Progress | None:
        """Where the fit stood, with both generators set to what they were then."""
        try:
            with safe_open(self.path, "pt") as file:
                header = file.metadata() or {}
                if header.get("of") != self.of:
                    return None
                vectors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError):
            return None
        torch.set_rng_state(vectors.pop(_GENERATOR))
        random.bit_generator.state = json.loads(header["random"])
        losses, tails = (tuple(json.loads(header[name])) for name in ("losses", "tails"))
        return Progress(vectors, losses, int(header["steps"]), tails)

    def remove(self) -> None:
        """Deletes the file; that there is none is no error."""
        self.path.unlink(missing_ok=True)


def fingerprint(what: Sequence[str], arrays: Sequence[np.ndarray]) -> str:  # type: ignore[type-arg]
    """A digest of words and arrays.

    >>> fingerprint(["a"], [np.zeros(1)]) == fingerprint(["b"], [np.zeros(1)])
    False
    """
    found = hashlib.sha256(json.dumps(list(what)).encode())
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
