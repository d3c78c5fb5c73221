"""The weights that a fine-tuning moves, and the copies of them that it keeps."""

from __future__ import annotations

from typing import Any

import torch

from trainer.finetune.checkpoint import Tensors
from trainer.finetune.settings import FinetuneSettings


class Kept:
    """The moving weights of a model; their running mean, and those of the best validation."""

    def __init__(self, model: Any, how: FinetuneSettings) -> None:
        self._model, self._how = model, how
        self.best: Tensors = {}
        self.mean: Tensors = {}

    def now(self) -> Tensors:
        """A copy of the weights as they are."""
        return {name: one.detach().clone() for name, one in self._moving().items()}

    def set(self, tensors: Tensors) -> None:
        """Puts a copy back."""
        with torch.no_grad():
            for name, one in self._moving().items():
                one.copy_(tensors[name])

    def after_step(self, step: int) -> None:
        """An exponential mean takes in the weights after the step; it follows fast at first."""
        if self._how.average == "ema":
            self._mix(1.0 - min(self._how.ema_decay, (1 + step) / (10 + step)))

    def at_check(self, counted: int) -> None:
        """A plain mean takes in the weights as its `counted`-th."""
        self._mix(1.0 / counted)

    def _mix(self, share: float) -> None:
        now = self._moving()
        if not self.mean:
            self.mean = self.now()
        for name, one in self.mean.items():
            one.lerp_(now[name].detach(), share)

    def _moving(self) -> dict[str, Any]:
        return {name: one for name, one in self._model.named_parameters() if one.requires_grad}
