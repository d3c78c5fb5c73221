"""Several processes that fit one network together, as torchrun starts them; one by default.

Each takes every n-th batch of the same epoch and all take the same steps, because the gradient,
which the optimizer holds as one vector, is averaged before each: what DistributedDataParallel does
with its buckets. Outside a process group nothing changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def my_share(batches: Sequence[T], rank: int, count: int) -> Sequence[T]:
    """Every `count`-th batch; all get equally many, or one would wait for the others' step.

    >>> my_share(["a", "b", "c", "d", "e"], 1, 2)
    ['b', 'd']
    """
    if len(batches) < count:
        return batches
    return batches[rank : len(batches) // count * count : count]
