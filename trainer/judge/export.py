"""A fine-tuned text model as an ONNX graph, and how far the graph's answers are from torch's."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch

from adapters.onnx_text import TextGraph
from schemas.errors import RejectedModel
from trainer.corpus.examples import Example
from trainer.finetune.model import TextModel, token_ids
from trainer.pretrain.encoder import pad_id

GRAPH_FILE = "text.onnx"
OPSET = 17
"""Old enough for other runtimes, new enough to have LayerNormalization as one operator."""
INPUTS = ("input_ids", "attention_mask")


def text_graph(model: Any, output: str = "logits") -> bytes:
    """The graph of a module whose forward takes ids and mask; batch and length are free.

    Traced by the TorchScript exporter with a padded row, so that the mask is part of the graph.

    Raises:
        RejectedModel: the graph needs operators beyond the ONNX standard, or does not check.
    """
    ids = torch.ones((2, 7), dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    sizes = {name: {0: "batch", 1: "length"} for name in INPUTS}
    written = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(),
            (ids, mask),
            written,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=[output],
            dynamic_axes={**sizes, output: {0: "batch"}},
        )
    data = written.getvalue()
    check_standard(data)
    return data


def check_standard(data: bytes) -> None:
    """Refuses a graph that other runtimes cannot run.

    Raises:
        RejectedModel: an operator is not of the standard domain, or the checker objects.
    """
    graph = onnx.load_from_string(data)
    strange = sorted({node.domain for node in graph.graph.node} - {"", "ai.onnx"})
    if strange:
        raise RejectedModel("malformed_file", f"the graph needs operators of {', '.join(strange)}")
    try:
        onnx.checker.check_model(graph)
    except onnx.checker.ValidationError as error:
        raise RejectedModel("malformed_file", f"the graph does not check: {error}") from error


def tokens_of(model: TextModel, examples: Sequence[Example]) -> list[list[int]]:
    """The token ids of each example as the model reads them."""
    return token_ids(model.encoder, examples, model.card.length)


def graph_outputs(graph: TextGraph, model: TextModel, examples: Sequence[Example]) -> Any:
    """What the graph says of the examples, float32 of shape (n, outputs)."""
    return graph.rows(tokens_of(model, examples), pad_id(model.tokenizer))


def largest_difference(one: Any, other: Any) -> float:
    """The largest absolute difference between two models' answers; infinite if shapes differ."""
    if one.shape != other.shape:
        return float("inf")
    return float(np.abs(one - other).max(initial=0.0))
