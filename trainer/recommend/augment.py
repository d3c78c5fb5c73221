"""Changed copies of training rows: the beginning cropped, items hidden, a stretch reordered.

Every row is changed with the given chances. What a place predicts always lies after all it sees:
places that a change would let see their own answer predict nothing.

*Source:* Xie et al., Contrastive Learning for Sequential Recommendation, 2022, section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.recommend.windows import Windows

KEPT_AT_LEAST = 0.5
REORDERED_SHARE = 0.3


@dataclass(frozen=True)
class Augment:
    """Chances by row of cropping and reordering, and by item of hiding it; zero changes nothing."""

    crop: float = 0.0
    hide: float = 0.0
    reorder: float = 0.0

    @property
    def is_off(self) -> bool:
        """Whether nothing is changed."""
        return not (self.crop or self.hide or self.reorder)


def augmented(windows: Windows, random: np.random.Generator, how: Augment) -> Windows:
    """The rows, changed; with nothing to change the same rows, and nothing is drawn."""
    if how.is_off:
        return windows
    changed = Windows(windows.tokens.copy(), windows.targets, windows.weights.copy())
    lengths = (changed.tokens > 0).sum(axis=1)
    width = changed.tokens.shape[1]
    for row, length in enumerate(lengths.tolist()):
        if random.random() < how.crop:
            _crop(changed, row, length, random)
        if random.random() < how.reorder:
            _reorder(changed, row, length, random)
    hidden = (random.random(changed.tokens.shape) < how.hide) & (changed.tokens > 0)
    hidden[:, width - 1] = False  # a row keeps at least its newest item
    changed.tokens[hidden] = 0
    changed.weights[hidden] = 0.0
    return changed


def _crop(windows: Windows, row: int, length: int, random: np.random.Generator) -> None:
    """Forgets up to half of the row, its oldest part."""
    gone = int(random.integers(int(length * (1 - KEPT_AT_LEAST)) + 1))
    first = windows.tokens.shape[1] - length
    windows.tokens[row, first : first + gone] = 0
    windows.weights[row, first : first + gone] = 0.0


def _reorder(windows: Windows, row: int, length: int, random: np.random.Generator) -> None:
    """Shuffles a stretch; only its last place, which sees all of it, still predicts."""
    many = max(2, int(length * REORDERED_SHARE))
    if length < many:
        return
    start = windows.tokens.shape[1] - length + int(random.integers(length - many + 1))
    stretch = slice(start, start + many)
    windows.tokens[row, stretch] = random.permutation(windows.tokens[row, stretch])
    windows.weights[row, start : start + many - 1] = 0.0
