"""A text graph run by ONNX Runtime on one thread: token ids and mask in, one row of numbers out."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class TextGraph:
    """An ONNX graph from `input_ids` and `attention_mask`, int64 (batch, length), to its output.

    The output is `logits` (batch, outputs) of a classifier or a regressor, or `vectors` of a search
    encoder; `output` says which.
    """

    def __init__(self, data: bytes, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"]
        )
        self.output: str = self._session.get_outputs()[0].name

    def run(self, input_ids: Ints, attention_mask: Ints) -> Floats:
        """The output for one padded batch, shape (batch, outputs)."""
        given = {"input_ids": input_ids, "attention_mask": attention_mask}
        return np.asarray(self._session.run([self.output], given)[0], np.float32)

    def rows(self, tokens: Sequence[Sequence[int]], fill: int = 0, batch_rows: int = 32) -> Floats:
        """The output for many texts in their order; those of like length go together."""
        order = np.argsort([len(one) for one in tokens], kind="stable")
        parts = []
        for start in range(0, len(order), batch_rows):
            at = order[start : start + batch_rows]
            parts.append(self.run(*padded([tokens[i] for i in at], fill)))
        if not parts:
            return np.zeros((0, 0), np.float32)
        found = np.concatenate(parts)
        result = np.empty_like(found)
        result[order] = found
        return result


def padded(tokens: Sequence[Sequence[int]], fill: int = 0) -> tuple[Ints, Ints]:
    """Ids and mask of a batch, shape (rows, longest), filled up on the right.

    >>> [each.tolist() for each in padded([[5, 6], [7]])]
    [[[5, 6], [7, 0]], [[1, 1], [1, 0]]]
    """
    longest = max(map(len, tokens), default=0)
    ids = np.full((len(tokens), longest), fill, np.int64)
    mask = np.zeros_like(ids)
    for row, one in enumerate(tokens):
        ids[row, : len(one)] = one
        mask[row, : len(one)] = 1
    return ids, mask


def milliseconds(graph: TextGraph, tokens: Sequence[Sequence[int]], rounds: int = 60) -> float:
    """Median wall time of one text's answer, each text alone, after five to warm up."""
    taken = []
    for i in range(rounds + 5):
        ids, mask = padded([tokens[i % len(tokens)]])
        started = time.perf_counter()
        graph.run(ids, mask)
        taken.append((time.perf_counter() - started) * 1_000)
    return float(np.median(taken[5:]))
