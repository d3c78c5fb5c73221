"""Texts as blocks of tokens without padding, in an order that follows from seed and epoch.

Texts are put one after another and the line of tokens is cut into blocks of one length, so every
token that is computed is a real one.

*Source:* Liu et al., RoBERTa, 2019, section 4.2 (full sentences).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Tokens = NDArray[np.int32]


@dataclass(frozen=True)
class TokenLine:
    """Every text's tokens in one array; text i is `tokens[starts[i]:starts[i + 1]]`."""

    tokens: Tokens
    starts: NDArray[np.int64]

    def blocks(self, length: int, seed: int, epoch: int) -> Tokens:
        """The texts in a new order, shape (n, length); what does not fill a block is left out."""
        order = np.random.default_rng([seed, epoch]).permutation(len(self.starts) - 1)
        sizes = np.diff(self.starts)[order]
        before = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        within = np.arange(int(sizes.sum())) - np.repeat(before, sizes)
        line = self.tokens[np.repeat(self.starts[:-1][order], sizes) + within]
        whole: Tokens = line[: len(line) // length * length].reshape(-1, length)
        return whole


def token_line(tokenizer: Tokenizer, texts: Sequence[str], longest: int) -> TokenLine:
    """The tokens of texts, each cut to `longest` with its special tokens."""
    tokenizer.enable_truncation(longest)
    found = [one.ids for one in tokenizer.encode_batch_fast(list(texts))]
    starts = np.concatenate([[0], np.cumsum([len(one) for one in found])]).astype(np.int64)
    flat = [np.asarray(one, np.int32) for one in found]
    return TokenLine(np.concatenate(flat) if flat else np.zeros(0, np.int32), starts)
