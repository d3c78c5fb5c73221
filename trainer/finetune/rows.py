"""Training rows as token ids, and the order in which an epoch's batches come.

A batch holds texts of like length, so little of it is padding; which batch comes when is drawn
from the seed and the epoch alone, so a resumed training needs no state of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.corpus.examples import Example
from trainer.finetune.model import HeadCard

QUARTERS = 4


@dataclass(frozen=True)
class Rows:
    """Examples ready for the network; `targets` are label places or standardised values."""

    tokens: list[list[int]]
    targets: NDArray[Any]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.tokens)


def targets_of(examples: Sequence[Example], card: HeadCard) -> NDArray[Any]:
    """The place of each label, or the value less the centre over the scale.

    >>> card = HeadCard(kind="classify", labels=("bad", "good"))
    >>> targets_of([Example(example_id="1", text="fine", label="good")], card).tolist()
    [1]
    """
    if card.kind == "classify":
        places = {label: at for at, label in enumerate(card.labels)}
        return np.asarray([places[one.label] for one in examples], dtype=np.int64)
    values = np.asarray([float(one.value or 0.0) for one in examples])
    return ((values - card.centre) / card.scale).astype(np.float32)


def weights_of(examples: Sequence[Example], largest: float) -> NDArray[np.float32]:
    """Weights clipped to the largest, then divided by their mean.

    Clipping bounds the variance that rare propensities bring, at a little bias.

    *Source:* Swaminathan and Joachims, Counterfactual Risk Minimization, 2015, section 3.

    >>> ones = [Example(example_id=str(w), text="t", weight=w) for w in (1.0, 50.0)]
    >>> weights_of(ones, 3.0).tolist()
    [0.5, 1.5]
    """
    weights = np.minimum([one.weight for one in examples], largest).astype(np.float32)
    mean = float(weights.mean()) if len(weights) else 1.0
    return weights / mean if mean > 0 else weights


def epoch_batches(
    lengths: NDArray[np.int64],
    batch_rows: int,
    seed: tuple[int, int],
    difficulty: NDArray[np.float64] | None = None,
) -> list[NDArray[np.int64]]:
    """Rows of each batch of an epoch; with a difficulty, quarter by quarter from its smallest.

    Args:
        lengths: tokens per row.
        batch_rows: rows per batch; the last of a quarter may have fewer.
        seed: of the training, and the epoch.
        difficulty: what the order goes by, ascending.

    >>> sorted(len(b) for b in epoch_batches(np.array([3, 9, 3, 9, 3]), 2, (0, 0)))
    [1, 2, 2]
    """
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(lengths))
    if difficulty is None:
        return _alike(shuffled, lengths, batch_rows, random)
    ordered = shuffled[np.argsort(difficulty[shuffled], kind="stable")]
    quarters = np.array_split(ordered, QUARTERS)
    return [b for one in quarters for b in _alike(one, lengths, batch_rows, random)]


def _alike(
    rows: NDArray[np.int64],
    lengths: NDArray[np.int64],
    batch_rows: int,
    random: np.random.Generator,
) -> list[NDArray[np.int64]]:
    ordered = rows[np.argsort(lengths[rows], kind="stable")]
    batches = [ordered[at : at + batch_rows] for at in range(0, len(ordered), batch_rows)]
    return [batches[at] for at in random.permutation(len(batches))]
