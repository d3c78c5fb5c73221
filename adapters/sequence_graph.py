"""A sequence model's ONNX graph in ONNX Runtime, and the item table that lies beside it.

It trusts the bytes it is given: `adapters/onnx.py` verifies them.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from core.model_version import GRAPH, ITEM_VECTORS, TABLE

Floats = NDArray[np.float32]
_FOLDER = "session.model_external_initializers_file_folder_path"
_BESIDE_A_TABLE = 2**22
"""A graph larger than its table by so much holds it, and is not searched for a file's name."""
_NAME = ITEM_VECTORS.encode()


class _Tensor(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, int]
    data_offsets: tuple[int, int]


class _Header(msgspec.Struct, frozen=True):
    items: _Tensor


class SequenceGraph:
    """An ONNX graph from tokens (batch, 50), int64, to logits (batch, V+1), on one thread.

    Args:
        graph: the graph, as it is stored or whole.
        vectors: the item vectors that a stored graph takes its table from. They are used where they
            are, without a copy.
        folder: where the version lies; a file of that name must be there, and is not read.

    Raises:
        ValueError: the graph refers to item vectors, and these are none.
    """

    def __init__(self, graph: bytes, vectors: bytes = b"", folder: Path | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._table: onnxruntime.OrtValue | None = None  # a session does not keep it alive
        if may_refer(len(graph), len(vectors)) and _NAME in graph:
            self._table = onnxruntime.OrtValue.ortvalue_from_numpy(item_vectors(vectors))
            options.add_initializer(TABLE, self._table)
            options.add_session_config_entry(_FOLDER, str(folder or Path.cwd()))
        self._session = _session(graph, options)

    def logits(self, tokens: NDArray[np.int64]) -> Floats:
        """Raw scores, shape (batch, V+1); column 0 has no meaning."""
        return np.asarray(self._session.run(["logits"], {"history": tokens})[0], np.float32)


def may_refer(graph_bytes: int, vectors_bytes: int) -> bool:
    """Whether a graph of this size can do with item vectors of that; older graphs hold theirs."""
    return graph_bytes < vectors_bytes + _BESIDE_A_TABLE


def item_vectors(packed: bytes) -> Floats:
    """The item vectors in a file as the trainer writes it, shape (V, D), over the same bytes.

    Raises ValueError when it is no such file.

    *Source:* https://huggingface.co/docs/safetensors/index, Format.
    """
    start = 8 + int.from_bytes(packed[:8], "little")
    try:
        items = msgspec.json.decode(packed[8:start], type=_Header).items
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{ITEM_VECTORS}: {error}") from error
    if items.dtype != "F32":
        raise ValueError(f"{ITEM_VECTORS}: expected F32, found {items.dtype}")
    first, last = items.data_offsets
    return np.frombuffer(memoryview(packed)[start + first : start + last], "<f4").reshape(
        items.shape
    )


def _session(graph: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    """A session over a graph that other threads go on beside.

    Given bytes, ONNX Runtime parses them with the interpreter locked: 17 to 140 ms for 52 MB. Given
    a file it does not; so the bytes become one that exists in memory alone, where the system has
    such files, and nobody can change it between verification and parsing.
    """
    providers = ["CPUExecutionProvider"]
    if not hasattr(os, "memfd_create"):
        return onnxruntime.InferenceSession(graph, options, providers=providers)
    with open(os.memfd_create(GRAPH), "wb", buffering=0) as file:
        rest = memoryview(graph)
        while rest:
            rest = rest[file.write(rest) :]
        path = f"/proc/self/fd/{file.fileno()}"
        return onnxruntime.InferenceSession(path, options, providers=providers)
