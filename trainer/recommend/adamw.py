"""AdamW over all parameters as one vector, with the gradient's norm clipped first.

It stands in for `torch.optim.AdamW`, whose first use imports torch's compiler: four seconds of a
first training, as much as its fitting takes.

*Source:* Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

KEPT_MEAN, KEPT_SQUARE = 0.9, 0.999
DECAY = 0.01
LARGEST_NORM = 1.0
_TINY = 1e-8


class AdamW:
    """Moves the parameters' values and gradients into two vectors, then steps on those."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        found = list(parameters)
        self._values = torch.cat([one.detach().flatten() for one in found])
        self._slopes = torch.zeros_like(self._values)
        self._mean = torch.zeros_like(self._values)
        self._square = torch.zeros_like(self._values)
        self._steps = 0
        sizes = [one.numel() for one in found]
        parts = zip(found, self._values.split(sizes), self._slopes.split(sizes), strict=True)
        for one, values, slopes in parts:
            one.data, one.grad = values.view_as(one), slopes.view_as(one)

    def step(self, rate: float) -> None:
        """One step down the gradient that has been summed up; the gradient is zero afterwards."""
        self._steps += 1
        slopes, square = self._slopes, self._square
        slopes.mul_(min(1.0, LARGEST_NORM / (float(slopes.norm()) + _TINY)))
        self._mean.lerp_(slopes, 1 - KEPT_MEAN)
        square.mul_(KEPT_SQUARE).addcmul_(slopes, slopes, value=1 - KEPT_SQUARE)
        spread = square.sqrt().div_((1 - KEPT_SQUARE**self._steps) ** 0.5).add_(_TINY)
        self._values.mul_(1 - rate * DECAY)
        self._values.addcdiv_(self._mean, spread, value=-rate / (1 - KEPT_MEAN**self._steps))
        slopes.zero_()
