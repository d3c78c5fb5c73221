"""How fast and how good each form of a model is, beside the whole one."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from adapters.onnx_text import TextGraph, padded
from core.gate import Compared
from core.pareto import Measured
from core.text_gate import HeldOut
from core.text_metrics import Floats

WARM_UP, ROUNDS = 5, 60


def side_by_side(graphs: Sequence[TextGraph], tokens: Sequence[Sequence[int]]) -> list[float]:
    """Median milliseconds of one text alone, for each graph on one thread.

    The graphs take turns text by text, so that whatever else the machine does slows all alike.
    """
    taken = np.zeros((WARM_UP + ROUNDS, len(graphs)))
    for turn in range(len(taken)):
        ids, mask = padded([tokens[turn % len(tokens)]])
        for place, graph in enumerate(graphs):
            started = time.perf_counter()
            graph.run(ids, mask)
            taken[turn, place] = (time.perf_counter() - started) * 1_000
    return [float(one) for one in np.median(taken[WARM_UP:], axis=0)]


def compared(
    name: str, held: HeldOut, whole: Floats, small: Floats, cost: tuple[int, float], seed: int
) -> Measured:
    """A smaller version's loss against the whole one on the same rows; `cost` is bytes and ms."""
    pair = Compared(held.quality(whole), held.quality(small), held.units)
    mean, low, high, _ = pair.interval(seed)
    return Measured(name, cost[0], cost[1], mean, low, high)
