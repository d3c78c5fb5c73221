"""From a fitted network to the files of a version: ONNX graph, vectors, tables, weights. No pickle.

The graph answers with column 0 unused, so that a token is its own column.
"""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Mapping

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.external_data_helper import set_external_data
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors
from torch import Tensor, nn

from adapters.sequence_graph import SequenceGraph
from core.item_text import TEXT_WIDTH
from core.model_version import GRAPH, ITEM_VECTORS, RANKER, STATE, TABLE, VOCABULARY
from core.ranking import RankerWeights
from core.sequence import HISTORY_LENGTH
from core.shop_state import ShopState
from schemas.codec import encode
from schemas.models import Probe
from trainer.explain.report import EXPLAIN, Explained, Moved, explained_bytes
from trainer.recommend.fit import Parent, SequenceModel

OPSET = 17
PROBE_COLUMNS = 65
PROBE_HISTORIES = 4
NEIGHBOURS = 20
NEIGHBOURS_AT_ONCE = 256
POPULAR = 500
TEXT, COOCCURRENCE, POPULARITY = "text.json", "cooccurrence.json", "popularity.json"
Tokens = NDArray[np.int64]


class ExportedNetwork(nn.Module):  # type: ignore[misc]
    """The served network with a first column for padding, which is never an answer."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.served = model.served()

    def forward(self, history: Tensor) -> Tensor:
        """Tokens (B, 50) to scores (B, V + 1); column 0 is zero."""
        return nn.functional.pad(self.served(history), (1, 0))


def graph_bytes(model: SequenceModel) -> bytes:
    """The ONNX graph: input `history` int64 (batch, 50), output `logits` float32 (batch, V+1).

    Traced by the TorchScript exporter: the newer one takes 18 s for the same graph.
    """
    example = torch.zeros((2, HISTORY_LENGTH), dtype=torch.int64)
    example[:, -2:] = 1
    written = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            ExportedNetwork(model).eval(),
            (example,),
            written,
            dynamo=False,
            opset_version=OPSET,
            input_names=["history"],
            output_names=["logits"],
            dynamic_axes={"history": {0: "batch"}, "logits": {0: "batch"}},
        )
    return written.getvalue()


def table_apart(graph: bytes) -> dict[str, bytes]:
    """The graph as it is stored, and the file of item vectors that it takes its table from.

    It is ONNX external data: from the version's folder any runtime loads it.
    """
    model = onnx.load_from_string(graph)
    (table,) = (each for each in model.graph.initializer if each.name == TABLE)
    values = numpy_helper.to_array(table)
    vectors = save_tensors({"items": values})
    set_external_data(table, ITEM_VECTORS, len(vectors) - values.nbytes, values.nbytes)
    table.ClearField("raw_data")
    return {GRAPH: model.SerializeToString(deterministic=True), ITEM_VECTORS: vectors}


def graph_difference(graph: SequenceGraph, model: SequenceModel, tokens: Tokens) -> float:
    """The largest absolute difference between graph and network on these rows."""
    with torch.no_grad():
        expected = ExportedNetwork(model).eval()(torch.from_numpy(tokens)).numpy()
    return float(np.abs(graph.logits(tokens) - expected).max())


def milliseconds_each(graph: SequenceGraph, tokens: Tokens, rounds: int = 20) -> float:
    """Median wall time of one single-row answer."""
    taken = []
    for i in range(rounds):
        row = tokens[i % len(tokens)][None, :]
        started = time.perf_counter()
        graph.logits(row)
        taken.append((time.perf_counter() - started) * 1_000)
    return float(np.median(taken))


def probe_of(graph: SequenceGraph, tokens: Tokens) -> Probe:
    """A few inputs with the first columns of their answers."""
    chosen = tokens[:: max(1, len(tokens) // PROBE_HISTORIES)][:PROBE_HISTORIES]
    answers = graph.logits(chosen)[:, :PROBE_COLUMNS]
    return Probe(histories=chosen.tolist(), outputs=answers.astype(np.float64).tolist())


def version_files(
    model: SequenceModel,
    graph: bytes,
    titles: list[str],
    ranker: Mapping[str, RankerWeights],
    state: ShopState,
    moved: Mapping[str, Moved],
) -> dict[str, bytes]:
    """Every file of a version but the manifest and its signature."""
    item_ids = list(model.vocabulary.item_ids)
    return {
        **table_apart(graph),
        VOCABULARY: encode(item_ids),
        RANKER: encode({surface: _ranker(weights) for surface, weights in ranker.items()}),
        STATE: save_tensors(model.as_parent().tensors),
        TEXT: encode({"encoding": "hashed", "width": TEXT_WIDTH, "titles": titles}),
        COOCCURRENCE: encode(_neighbours(state, item_ids)),
        POPULARITY: encode(_popularity(state)),
        EXPLAIN: explained_bytes(Explained(rankers=dict(moved))),
    }


def parent_of(vocabulary: list[str], state: bytes) -> Parent:
    """What `fit` starts from, out of a version's files."""
    return Parent(tuple(vocabulary), load_tensors(state))


def _ranker(weights: RankerWeights) -> dict[str, object]:
    return {
        "names": list(weights.names),
        "coef": weights.coef.tolist(),
        "bias": weights.bias,
        "version": weights.version,
    }


def _neighbours(state: ShopState, item_ids: list[str]) -> dict[str, list[tuple[str, float]]]:
    """The nearest items of each item by cosine of co-occurrence, nearest first."""
    catalogue, size = state.catalogue, state.cooccurrence.size
    gram = state.cooccurrence.gram[:size, :size]
    lengths = np.sqrt(gram.diagonal())
    inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    names = [catalogue.item_ids[row] for row in state.row_of_slot[:size]]
    known = [item for item in item_ids if item in catalogue.row_of]
    found: dict[str, list[tuple[str, float]]] = {item: [] for item in known}
    slots = state.slot_of[catalogue.rows(known)]
    slots = slots[slots >= 0]
    for i in range(0, len(slots), NEIGHBOURS_AT_ONCE):
        these = slots[i : i + NEIGHBOURS_AT_ONCE]
        cosines = gram[these] * inverse * inverse[these][:, None]
        cosines[np.arange(len(these)), these] = 0.0
        best = np.argpartition(-cosines, min(NEIGHBOURS, size - 1), axis=1)[:, :NEIGHBOURS]
        values = np.take_along_axis(cosines, best, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        best, values = np.take_along_axis(best, order, 1), np.take_along_axis(values, order, 1)
        for slot, near, cosine in zip(these, best.tolist(), values.tolist(), strict=True):
            pairs = zip(near, cosine, strict=True)
            found[names[slot]] = [(names[j], round(value, 5)) for j, value in pairs if value > 0]
    return found


def _popularity(state: ShopState) -> dict[str, dict[str, float]]:
    """How often the most wanted items were wanted in the last days, by days."""
    tables = {}
    for days in (7, 28):
        counts = state.popularity.window(state.seen_ms, days)[: len(state.catalogue)]
        best = np.argsort(-counts, kind="stable")[:POPULAR]
        tables[f"{days}d"] = {
            state.catalogue.item_ids[i]: float(counts[i]) for i in best if counts[i] > 0
        }
    return tables
