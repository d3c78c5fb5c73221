"""Smaller and faster forms of a version's graph, each judged by what it loses on held-out rows.

Made are weights of eight bits per channel, small weights set to zero, and a distilled student. A
form passes when its ranking is not worse than the whole graph's by more than a margin; the table
says so for every form, and what it costs.
"""

from __future__ import annotations

import logging
import tempfile
import zlib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic

from adapters.onnx import log_probabilities
from adapters.sequence_graph import SequenceGraph
from core.gate import Compared, Floats, not_worse
from core.sequence import SequenceVocabulary
from schemas.models import Variant
from trainer.recommend.export import graph_bytes, milliseconds_each
from trainer.recommend.fit import SequenceModel
from trainer.recommend.holdout import HeldOut
from trainer.recommend.student import student_of

METRIC = "ndcg@10"
K = 10
LARGEST_LOSS = 0.005
"""By how much NDCG@10 may seem to fall; a recommender's is between .05 and .2."""
PRUNED_SHARE = 0.5
WHOLE, INT8, PRUNED, STUDENT = "float32", "int8", "pruned", "student"
JUDGED_ROWS = 300
RANKING_GAP = 1e-3
"""Graph and network may order equal scores differently in a rare list, and no more."""


@dataclass(frozen=True)
class Form:
    """One graph and what it is called; `size_bytes` may count it packed."""

    name: str
    graph: bytes
    size_bytes: int


def forms_of(
    model: SequenceModel, graph: bytes, requests: Sequence[HeldOut], seed: int
) -> list[Form]:
    """The whole graph and each smaller form of it."""
    histories = [request.history for request in requests]
    pruned = graph_bytes(pruned_model(model))
    found = {
        WHOLE: graph,
        INT8: quantized(graph),
        STUDENT: graph_bytes(student_of(model, histories, seed)),
    }
    forms = [Form(name, data, len(data)) for name, data in found.items()]
    # zeros take room until the file is packed: that is what pruning saves
    return [*forms, Form(PRUNED, pruned, len(zlib.compress(pruned, 6)))]


def table_of(
    forms: Sequence[Form], vocabulary: SequenceVocabulary, requests: Sequence[HeldOut], seed: int
) -> list[Variant]:
    """Each form beside the whole graph, which is chosen: what it loses, weighs and takes."""
    judged = list(requests[:JUDGED_ROWS])
    tokens = np.stack([vocabulary.encode(request.history) for request in judged])
    customers = [request.visitor_id for request in judged]
    whole = next(form for form in forms if form.name == WHOLE)
    graphs = {form.name: SequenceGraph(form.graph) for form in forms}
    gains = {name: ndcg(graph, tokens, vocabulary, judged) for name, graph in graphs.items()}
    found = []
    for form in forms:
        compared = Compared(gains[form.name], gains[whole.name], customers)
        variant = _judged(form, compared, seed)
        found.append(
            msgspec.structs.replace(
                variant, latency_ms=milliseconds_each(graphs[form.name], tokens)
            )
        )
    return found


def quantized(graph: bytes) -> bytes:
    """The same graph with matrices of eight bits, a scale per column.

    Looked-up tables stay as they are: one scale for a whole table breaks embeddings.
    """
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "int8.onnx")
        root = logging.getLogger()
        level = root.level
        root.setLevel(logging.ERROR)  # it advises a pre-processing that this graph does not need
        try:
            quantize_dynamic(
                onnx.load_from_string(graph),
                written,
                op_types_to_quantize=["MatMul", "Gemm"],
                per_channel=True,
                weight_type=QuantType.QInt8,
            )
        finally:
            root.setLevel(level)
        return written.read_bytes()


def pruned_model(model: SequenceModel, share: float = PRUNED_SHARE) -> SequenceModel:
    """A copy whose smallest weights are zero, each matrix by itself, the item table among them."""
    network = deepcopy(model.network)
    with torch.no_grad():
        network.item_embedding.copy_(_without_small(network.item_table(), share))
        network.text_projection.weight.zero_()  # its share is in the table now
        for name, weight in network.named_parameters():
            if weight.dim() == 2 and name.startswith("blocks."):
                weight.copy_(_without_small(weight, share))
    return replace(model, network=network)


def ndcg(
    graph: SequenceGraph,
    tokens: NDArray[np.int64],
    vocabulary: SequenceVocabulary,
    requests: Sequence[HeldOut],
) -> Floats:
    """NDCG@10 of a graph's ten best per request against its basket, shape (n,)."""
    return _gains(log_probabilities(graph.logits(tokens))[:, 1:], vocabulary, requests)


def ranking_gap(graph: SequenceGraph, model: SequenceModel, requests: Sequence[HeldOut]) -> float:
    """The mean difference in NDCG@10 of a request between the graph and the network."""
    judged = list(requests[:JUDGED_ROWS])
    vocabulary = model.vocabulary
    tokens = np.stack([vocabulary.encode(request.history) for request in judged])
    said = _gains(model.log_probs([request.history for request in judged]), vocabulary, judged)
    return float(np.abs(ndcg(graph, tokens, vocabulary, judged) - said).mean())


def _gains(
    scores: NDArray[np.float32], vocabulary: SequenceVocabulary, requests: Sequence[HeldOut]
) -> Floats:
    best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    return np.array(
        [
            ndcg_of([vocabulary.item_ids[i] for i in row], request.basket)
            for row, request in zip(best, requests, strict=True)
        ]
    )


def ndcg_of(listed: Sequence[str], wanted: frozenset[str]) -> float:
    """NDCG of one list against a set.

    >>> ndcg_of(["a", "b"], frozenset({"a"}))
    1.0

    *Source:* Järvelin and Kekäläinen, Cumulated Gain-based Evaluation of IR Techniques, 2002.
    """
    discounts = 1 / np.log2(np.arange(2, K + 2))
    found = sum(discounts[place] for place, item in enumerate(listed) if item in wanted)
    return float(found / discounts[: len(wanted)].sum()) if wanted else 0.0


def _judged(form: Form, compared: Compared, seed: int) -> Variant:
    check = not_worse(form.name, compared, seed, LARGEST_LOSS)
    is_whole = form.name == WHOLE
    passed = is_whole or check.passed
    return Variant(
        name=form.name,
        chosen=is_whole,
        size_bytes=form.size_bytes,
        metric=METRIC,
        loss=-check.value,
        low=-check.high,
        high=-check.low,
        passed=passed,
        reason="" if passed else f"may lose {-check.low:.4f} {METRIC}, at most {LARGEST_LOSS:g}",
    )


def _without_small(weight: torch.Tensor, share: float) -> torch.Tensor:
    smallest = weight.abs().flatten().kthvalue(max(1, int(share * weight.numel()))).values
    return torch.where(weight.abs() > smallest, weight, torch.zeros_like(weight))
