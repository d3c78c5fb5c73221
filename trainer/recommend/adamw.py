"""AdamW over all parameters as one vector, with the gradient's norm clipped first.

It stands in for `torch.optim.AdamW`, whose first use imports torch's compiler: four seconds of a
first training, as much as its fitting takes.

*Source:* Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from trainer.processes import average

KEPT_MEAN, KEPT_SQUARE = 0.9, 0.999
DECAY = 0.01
LARGEST_NORM = 1.0
_TINY = 1e-8


class AdamW:
    """Moves the parameters' values and gradients into two vectors, then steps on those.

    With `averaged` above zero it keeps an average of the values, that share of which stays at each
    step. *Source:* Polyak and Juditsky, Acceleration of Stochastic Approximation, 1992.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], decay: float = DECAY, averaged: float = 0.0
    ) -> None:
        found = list(parameters)
        self._decay, self._averaged = decay, averaged
        self._values = torch.cat([one.detach().flatten() for one in found])
        self._slopes = torch.zeros_like(self._values)
        self._mean = torch.zeros_like(self._values)
        self._square = torch.zeros_like(self._values)
        self._average = self._values.clone() if averaged else None
        self._steps = 0
        sizes = [one.numel() for one in found]
        parts = zip(found, self._values.split(sizes), self._slopes.split(sizes), strict=True)
        for one, values, slopes in parts:
            one.data, one.grad = values.view_as(one), slopes.view_as(one)

    def step(self, rate: float) -> None:
        """One step down the gradient that has been summed up; the gradient is zero afterwards."""
        self._steps += 1
        slopes, square = self._slopes, self._square
        average(slopes)
        slopes.mul_(min(1.0, LARGEST_NORM / (float(slopes.norm()) + _TINY)))
        self._mean.lerp_(slopes, 1 - KEPT_MEAN)
        square.mul_(KEPT_SQUARE).addcmul_(slopes, slopes, value=1 - KEPT_SQUARE)
        spread = square.sqrt().div_((1 - KEPT_SQUARE**self._steps) ** 0.5).add_(_TINY)
        self._values.mul_(1 - rate * self._decay)
        self._values.addcdiv_(self._mean, spread, value=-rate / (1 - KEPT_MEAN**self._steps))
        slopes.zero_()
        if self._average is not None:
            kept = min(self._averaged, self._steps / (self._steps + 9))  # young averages forget
            self._average.lerp_(self._values, 1 - kept)

    def use_average(self) -> None:
        """Sets the parameters to their average, where one is kept."""
        if self._average is not None:
            self._values.copy_(self._average)

    @property
    def values(self) -> Tensor:
        """All parameters as one vector."""
        return self._values

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return self._steps

    def vectors(self) -> dict[str, Tensor]:
        """All that the next step depends on, by name."""
        found = {"values": self._values, "mean": self._mean, "square": self._square}
        return found if self._average is None else {**found, "average": self._average}

    def resume(self, vectors: Mapping[str, Tensor], steps: int) -> None:
        """Goes on from vectors of the same parameters."""
        for name, mine in self.vectors().items():
            mine.copy_(vectors[name])
        self._steps = steps

    @property
    def slopes(self) -> Tensor:
        """The summed gradient of all parameters, one vector that several processes can share."""
        return self._slopes
