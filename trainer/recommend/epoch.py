"""One pass of training over windows: batches, their loss and a step each; and a held-out loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.recommend.adamw import AdamW
from trainer.recommend.cross_entropy import CrossEntropy
from trainer.recommend.lessons import Steps
from trainer.recommend.model import SequenceNetwork
from trainer.recommend.windows import Windows

SAMPLED_ABOVE = 20_000
SAMPLED_NEGATIVES = 4_096


def one_epoch(
    network: SequenceNetwork,
    optimizer: AdamW,
    rate: float,
    windows: Windows,
    batches: Sequence[NDArray[np.int64]],
    lessons: Steps | None,
) -> float:
    """One pass over the windows, a step a batch; returns their mean loss."""
    network.train()
    total, weight = 0.0, 0.0
    for number, rows in enumerate(batches):
        loss, batch_weight = _loss(network, windows, rows)
        (loss / batch_weight).backward()
        if lessons is not None:
            lessons(number).backward()
        optimizer.step(rate)
        total += float(loss.detach())
        weight += batch_weight
    return total / max(weight, 1.0)


def batches_of(
    windows: Windows, random: np.random.Generator, batch_rows: int
) -> list[NDArray[np.int64]]:
    """Row numbers of each batch: rows of like length together, batches in a drawn order."""
    lengths = (windows.tokens > 0).sum(axis=1)
    order = np.lexsort((random.random(len(lengths)), lengths // 4))
    batches = [order[i : i + batch_rows] for i in range(0, len(order), batch_rows)]
    return [batches[i] for i in random.permutation(len(batches))]


def _loss(
    network: SequenceNetwork, windows: Windows, rows: NDArray[np.int64]
) -> tuple[torch.Tensor, float]:
    """Weighted cross-entropy summed over the places that predict something, and their weight."""
    tokens = windows.tokens[rows]
    width = int((tokens > 0).sum(axis=1).max())  # rows are padded in front: drop shared padding
    weights = torch.from_numpy(windows.weights[rows][:, -width:])
    table = network.item_table()
    used = weights > 0
    hidden = network.hidden(torch.from_numpy(tokens[:, -width:]), table, used)
    targets = torch.from_numpy(windows.targets[rows][:, -width:])[used]
    losses = _cross_entropy(network, hidden, table, targets)
    return (losses * weights[used]).sum(), float(weights.sum())


def _cross_entropy(
    network: SequenceNetwork, hidden: torch.Tensor, table: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy per place, mean over its targets; a large catalogue is sampled per batch."""
    kept = None
    if len(table) > SAMPLED_ABOVE:
        drawn = torch.randint(len(table), (SAMPLED_NEGATIVES,))
        kept = torch.unique(torch.cat([targets.flatten(), drawn]))
        targets = torch.searchsorted(kept, targets)
    rows, bias = (
        (table, network.item_bias) if kept is None else (table[kept], network.item_bias[kept])
    )
    return CrossEntropy.apply(hidden, rows, bias, targets)


def tail_loss(network: SequenceNetwork, windows: Windows, batch_rows: int) -> float:
    """The mean loss on held-out windows."""
    network.eval()
    with torch.no_grad():
        batches = batches_of(windows, np.random.default_rng(0), batch_rows)
        said = [_loss(network, windows, rows) for rows in batches]
    weight = sum(each for _, each in said)
    return sum(float(loss) for loss, _ in said) / max(weight, 1e-9)
