"""What a sequence model says about one request, and the vocabulary it says it over.

Token 0 is padding, token `i + 1` is the vocabulary's item `i`; scores have no padding column.
It knows no model and no runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HISTORY_LENGTH = 50
ITEMS_AT_ONCE = 256
"""Items that are looked up or listed in one go, about .1 ms, where others want the interpreter."""


class SequenceVocabulary:
    """The items a model version can score, in the order of its output columns.

    >>> SequenceVocabulary(["a", "b"]).encode(["b", "unknown", "a"])[-3:].tolist()
    [0, 2, 1]
    """

    def __init__(self, item_ids: Sequence[str], index: dict[str, int] | None = None) -> None:
        """`index`, where it is at hand, is each item's place."""
        self.item_ids: tuple[str, ...] = tuple(item_ids)
        if index is None:
            index = dict(zip(self.item_ids, range(len(self.item_ids)), strict=True))
        self.index: dict[str, int] = index

    def __len__(self) -> int:
        return len(self.item_ids)

    def encode(self, history: Sequence[str]) -> NDArray[np.int64]:
        """Tokens of the newest known items, newest last, padded in front, shape (50,)."""
        places = map(self.index.get, history)
        tokens = [place + 1 for place in places if place is not None][-HISTORY_LENGTH:]
        encoded = np.zeros(HISTORY_LENGTH, np.int64)
        if tokens:
            encoded[-len(tokens) :] = tokens
        return encoded


@dataclass(frozen=True)
class SequenceScores:
    """Log-probabilities of the next item over a vocabulary, shape (V,), float32."""

    log_probs: NDArray[np.float32]
    vocabulary: SequenceVocabulary
