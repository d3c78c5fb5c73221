"""Item titles as fixed-length vectors: hashed words and letter trigrams, no learned vocabulary.

An item never sold has a vector the moment it has a title.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

TEXT_WIDTH = 256
_WORD_WEIGHT = 2
_WORDS_KEPT = 20_000


def text_vectors(titles: Sequence[str]) -> NDArray[np.float32]:
    """One row of length one per title, shape (len(titles), 256); an empty title is all zeros.

    >>> vectors = text_vectors(["RED RETROSPOT PLATE", "RED RETROSPOT CUP", "IVORY CANDLE"])
    >>> bool(vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3)
    True

    *Source:* Weinberger et al., Feature Hashing for Large Scale Multitask Learning, 2009.
    """
    words = [[_hashed(word) for word in title.lower().split()] for title in titles]
    flat = [one for row in words for one in row]
    codes = np.frombuffer(b"".join(codes for codes, _ in flat), np.uint8)
    weights = np.frombuffer(b"".join(weights for _, weights in flat), np.int8)
    lengths = [sum(len(codes) for codes, _ in row) for row in words]
    places = np.repeat(np.arange(len(titles)) * TEXT_WIDTH, lengths) + codes
    # Sums are of whole numbers: the same in whatever order.
    sums = np.bincount(places, weights, len(titles) * TEXT_WIDTH)
    vectors = sums.astype(np.float32).reshape(len(titles), TEXT_WIDTH)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, norms, out=vectors, where=norms > 0), np.float32)


@lru_cache(_WORDS_KEPT)
def _hashed(word: str) -> tuple[bytes, bytes]:
    """The places of a word and of its trigrams, and what each adds there; words come again."""
    padded = f"^{word}$"
    tokens = [word, *(padded[at : at + 3] for at in range(len(padded) - 2))]
    codes = np.array([zlib.crc32(token.encode()) for token in tokens], np.int64)
    weights = np.where(codes & 0x8000_0000, 1, -1).astype(np.int8)
    weights[0] *= _WORD_WEIGHT
    return (codes % TEXT_WIDTH).astype(np.uint8).tobytes(), weights.tobytes()
