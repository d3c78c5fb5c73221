"""A graph with int8 weights and one scale per channel; activations are scaled as they come."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory


def int8_graph(
    data: bytes, *, tables: bool = True, per_channel: bool = True, reduce_range: bool = False
) -> bytes:
    """The graph with its matrices in int8, and with `tables` the embedding tables too.

    One scale for a whole matrix (`per_channel=False`) is there to be measured, not to be served:
    it loses much of a sentence encoder.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    kinds = ["MatMul", "Gemm", *(["Gather"] if tables else [])]
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it advises a step that changes nothing here
    try:
        with TemporaryDirectory() as place, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            whole, small = Path(place, "whole.onnx"), Path(place, "small.onnx")
            whole.write_bytes(data)
            quantize_dynamic(
                whole, small, op_types_to_quantize=kinds, per_channel=per_channel,
                reduce_range=reduce_range, weight_type=QuantType.QInt8,
            )  # fmt: skip
            return small.read_bytes()
    finally:
        logging.disable(before)
