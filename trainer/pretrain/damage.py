"""Damages blocks of tokens for the denoising objective; each keeps its length but for the spans.

*Source:* Lewis et al., BART, 2020, section 2.2 (sentence permutation, text infilling); as in Raffel
et al., T5, 2020, appendix, every block loses as many tokens in as many spans, so that no padding
comes of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.pretrain.blocks import Tokens

LOST_SHARE = 0.3
MEAN_SPAN = 3.0


@dataclass(frozen=True)
class Damage:
    """The mask's id and the ids that end a sentence."""

    mask: int
    ends: tuple[int, ...]


def damaged(blocks: Tokens, known: Damage, rng: np.random.Generator) -> Tokens:
    """Blocks with their sentences reordered and spans replaced, shape (n, shorter length)."""
    return np.stack(
        [_lose_spans(_reorder(one, known.ends, rng), known.mask, rng) for one in blocks]
    )


def _reorder(block: Tokens, ends: tuple[int, ...], rng: np.random.Generator) -> Tokens:
    """The block's sentences in another order; a run of ends belongs to one sentence."""
    is_end = np.isin(block, ends)
    cuts = np.flatnonzero(is_end[:-1] & ~is_end[1:]) + 1
    parts = np.split(block, cuts)
    return np.concatenate([parts[i] for i in rng.permutation(len(parts))])


def _lose_spans(block: Tokens, mask: int, rng: np.random.Generator) -> Tokens:
    """The block without `LOST_SHARE` of its tokens; each lost span leaves one mask."""
    lost = max(1, min(len(block) - 1, round(LOST_SHARE * len(block))))
    spans = min(max(1, round(lost / MEAN_SPAN)), len(block) - lost)
    lengths = _divide(lost, spans, rng)
    kept = _divide(len(block) - lost, spans, rng)
    # Kept and lost stretches take turns: kept, lost, kept, lost; or the other way round.
    turns = [kept, lengths] if rng.random() < 0.5 else [lengths, kept]
    sizes = np.stack(turns, axis=1).ravel()
    is_lost = np.repeat(np.tile([turns[0] is lengths, turns[1] is lengths], spans), sizes)
    first = is_lost & ~np.concatenate([[False], is_lost[:-1]])
    out = np.where(first, mask, block)
    left: Tokens = out[~is_lost | first]
    return left


def _divide(total: int, parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`total` as a sum of `parts` numbers above zero, every such sum as likely."""
    cuts = np.sort(rng.permutation(total - 1)[: parts - 1]) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))
