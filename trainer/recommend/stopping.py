"""Ends a fit when a held-out tail says that it has learned enough, and keeps its best weights.

The tail is the newest session of one visitor in ten, which the fit then does not see.

*Source:* Prechelt, Early Stopping - But When?, 1998.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from trainer.recommend.windows import VisitorSessions

TAIL_SHARE = 0.1
BEST = "best"


@dataclass
class Stopping:
    """The tail's loss after each epoch, and the weights of the best; off without patience."""

    patience: int
    tails: list[float] = field(default_factory=list)
    best: Tensor | None = None

    def take(self, loss: float, values: Tensor) -> None:
        """One epoch more: what the tail says, and all weights as one vector."""
        self.tails.append(loss)
        if loss == min(self.tails):  # a tie goes to the later: it saw more
            self.best = values.clone()

    @property
    def enough(self) -> bool:
        """Whether the loss has not fallen for as many epochs as there is patience.

        >>> Stopping(2, [3.0, 2.0, 2.5]).enough, Stopping(2, [3.0, 2.0, 2.5, 2.1]).enough
        (False, True)
        """
        if not self.patience or not self.tails:
            return False
        newest_best = len(self.tails) - 1 - int(np.argmin(self.tails[::-1]))
        return len(self.tails) - 1 - newest_best >= self.patience

    def vectors(self) -> dict[str, Tensor]:
        """What a checkpoint has to keep of it."""
        return {} if self.best is None else {BEST: self.best}

    def resume(self, tails: Sequence[float], vectors: Mapping[str, Tensor]) -> None:
        """Goes on from where a killed fit stood."""
        self.tails, self.best = list(tails), vectors.get(BEST)


def without_tail(
    visitors: Sequence[VisitorSessions], patience: int, seed: int
) -> tuple[Sequence[VisitorSessions], list[VisitorSessions]]:
    """What is learned from, and the tail; all and nothing when there is no patience to end by."""
    if not patience:
        return visitors, []
    drawn = np.random.default_rng(seed).random(len(visitors)) < TAIL_SHARE
    learned, tail = list[VisitorSessions](), list[VisitorSessions]()
    for one, is_drawn in zip(visitors, drawn, strict=True):
        newest = len(one.sessions) - 1
        if not is_drawn or newest < 1:
            learned.append(one)
            continue
        tail.append(VisitorSessions(one.sessions, fresh_from=newest))
        if one.fresh_from < newest:
            learned.append(VisitorSessions(one.sessions[:newest], one.fresh_from))
    return learned, tail
