"""Item titles as fixed-length vectors: hashed words and letter trigrams, no learned vocabulary.

An item never sold has a vector the moment it has a title.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TEXT_WIDTH = 256
_WORD_WEIGHT = 2.0


def text_vectors(titles: Sequence[str]) -> NDArray[np.float32]:
    """One row of length one per title, shape (len(titles), 256); an empty title is all zeros.

    >>> vectors = text_vectors(["RED RETROSPOT PLATE", "RED RETROSPOT CUP", "IVORY CANDLE"])
    >>> bool(vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3)
    True

    *Source:* Weinberger et al., Feature Hashing for Large Scale Multitask Learning, 2009.
    """
    vectors = np.zeros((len(titles), TEXT_WIDTH), np.float32)
    for row, title in zip(vectors, titles, strict=True):
        for word in title.lower().split():
            _add(row, word, _WORD_WEIGHT)
            padded = f"^{word}$"
            for i in range(len(padded) - 2):
                _add(row, padded[i : i + 3], 1.0)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, norms, out=vectors, where=norms > 0), np.float32)


def _add(row: NDArray[np.float32], token: str, weight: float) -> None:
    code = zlib.crc32(token.encode())
    row[code % TEXT_WIDTH] += weight if code & 0x8000_0000 else -weight
