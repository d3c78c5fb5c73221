"""Cross-entropy over a whole catalogue with one matrix of places by items, written over in place.

The plain formula makes seven matrices of that size, and at thousands of items moving them costs as
much as the products.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class CrossEntropy(torch.autograd.Function):  # type: ignore[misc]
    """Of `softmax(hidden @ rows.T + bias)`, mean over each place's targets."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, rows: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        """Loss of each place, shape (n,), of states (n, D), items (V, D), (V,), targets (n, T)."""
        logits = torch.addmm(bias, hidden, rows.T)
        wanted, top = logits.gather(1, targets).mean(dim=1), logits.amax(dim=1)
        chance = torch.softmax(logits, dim=1, out=logits)
        ctx.save_for_backward(hidden, rows, targets, chance)
        return top - chance.amax(dim=1).log() - wanted

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients; what `forward` kept is used up."""
        hidden, rows, targets, chance = ctx.saved_tensors
        share = torch.full_like(targets, -1.0 / targets.shape[1], dtype=chance.dtype)
        slope = chance.scatter_add_(1, targets, share).mul_(grad[:, None])
        return slope @ rows, slope.T @ hidden, slope.sum(dim=0), None
