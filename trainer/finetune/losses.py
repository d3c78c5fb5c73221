"""What a step goes down: the weighted loss, its adversarial twin, and consistency on bare texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from trainer.finetune.model import TextModel, autocast, padded
from trainer.finetune.settings import FinetuneSettings
from trainer.pretrain.encoder import pad_id

PGD_STEPS = 3
THINNED = 0.15


@dataclass(frozen=True)
class Batch:
    """Token ids and mask, shape (rows, longest); targets and weights, shape (rows,)."""

    ids: torch.Tensor
    mask: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor


def weighted_loss(raw: torch.Tensor, batch: Batch, smoothing: float) -> torch.Tensor:
    """The mean of the rows' losses times their weights; squared error for values."""
    if batch.targets.dtype == torch.int64:
        rows = functional.cross_entropy(
            raw, batch.targets, reduction="none", label_smoothing=smoothing
        )
    else:
        rows = (raw[:, 0] - batch.targets).square()
    return (rows * batch.weights).mean()


class Step:
    """Sums the gradients of one batch into the model."""

    def __init__(
        self,
        model: TextModel,
        how: FinetuneSettings,
        bf16: bool,
        penalty: Callable[[], torch.Tensor | float],
    ) -> None:
        self.model, self.how, self.bf16, self.penalty = model, how, bf16, penalty

    def gradients(self, batch: Batch, bare: list[list[int]], seed: tuple[int, int]) -> float:
        """The batch's loss, after its backward passes; `bare` are unlabelled texts, if any."""
        if self.how.adversarial == "none":
            loss = self._loss(batch)
            (loss + self.penalty()).backward()
        else:
            loss = self._attacked(batch)
        if bare:
            self._consistency(bare, seed)
        return float(loss.detach())

    def _loss(self, batch: Batch) -> torch.Tensor:
        with autocast(self.model.device, self.bf16):
            raw = self.model.raw(batch.ids, batch.mask)
        return weighted_loss(raw.float(), batch, self.how.label_smoothing)

    def _attacked(self, batch: Batch) -> torch.Tensor:
        """The clean loss, and that where embeddings are moved to make it worst.

        *Source:* Miyato et al., Adversarial Training Methods for Semi-Supervised Text
        Classification, 2017 (one step); Madry et al., 2018 (several, projected).
        """
        steps = PGD_STEPS if self.how.adversarial == "pgd" else 1
        stride = self.how.epsilon if steps == 1 else 1.5 * self.how.epsilon / steps
        with _Moved(self.model) as moved:
            clean = self._loss(batch)
            (clean + self.penalty()).backward(retain_graph=False)
            shift = _unit(moved.slope()) * stride
            for _ in range(steps - 1):
                moved.set(shift)
                (slope,) = torch.autograd.grad(self._loss(batch), [moved.shift])
                shift = _within(shift + _unit(slope) * stride, self.how.epsilon)
            moved.set(shift)
            self._loss(batch).backward()
        return clean

    def _consistency(self, bare: list[list[int]], seed: tuple[int, int]) -> None:
        """Confident guesses on whole texts are the targets of the same texts thinned.

        *Source:* Xie et al., Unsupervised Data Augmentation, 2020; Sohn et al., FixMatch, 2020.
        """
        model, fill = self.model, pad_id(self.model.tokenizer)
        with torch.no_grad(), autocast(model.device, self.bf16):
            model.eval()
            guessed = model.raw(*padded(bare, fill, model.device)).float().softmax(1)
            model.train()
        sure, labels = guessed.max(1)
        weights = (sure >= self.how.confidence).float() * self.how.unlabelled_weight
        if not bool(weights.any()):
            return
        ids, mask = padded(thinned(bare, seed), fill, model.device)
        self._loss(Batch(ids, mask, labels, weights)).backward()


class _Moved:
    """Adds a shift to what the embedding of words gives, as long as the block lasts."""

    def __init__(self, model: TextModel) -> None:
        self._words = model.network.get_input_embeddings()
        self.shift: Any = None

    def __enter__(self) -> _Moved:
        self._hook = self._words.register_forward_hook(self._add)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def set(self, shift: torch.Tensor) -> None:
        """The next passes see this shift, and have its gradient."""
        self.shift = shift.detach().requires_grad_(True)

    def slope(self) -> torch.Tensor:
        """The gradient at the present shift."""
        found: torch.Tensor = self.shift.grad
        return found

    def _add(self, _module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        if self.shift is None:
            self.set(torch.zeros_like(output))
        return output + self.shift


def thinned(rows: list[list[int]], seed: tuple[int, int]) -> list[list[int]]:
    """The rows without some of their tokens; the first and the last, which mark the ends, stay.

    >>> thinned([[101, 7, 102]], (0, 0))
    [[101, 7, 102]]
    """
    random = np.random.default_rng(seed)
    return [
        [
            token
            for at, token in enumerate(row)
            if at in (0, len(row) - 1) or random.random() >= THINNED
        ]
        for row in rows
    ]


def _unit(slope: torch.Tensor) -> torch.Tensor:
    return slope / (slope.flatten(1).norm(dim=1)[:, None, None] + 1e-12)


def _within(shift: torch.Tensor, radius: float) -> torch.Tensor:
    norms = shift.flatten(1).norm(dim=1)[:, None, None]
    return shift * (radius / norms.clamp(min=radius))
