"""Builds a small signed version whose graph answers with the embedding of the newest token."""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import TensorProto, helper, numpy_helper

from adapters.artefacts import ArtefactStore
from adapters.sequence_graph import SequenceGraph
from adapters.signing import sign
from core.features import FEATURE_NAMES, feature_schema_hash
from core.model_version import (
    GRAPH,
    MANIFEST,
    RANKER,
    SIGNATURE,
    VOCABULARY,
    digest,
    identified,
)
from schemas.codec import encode
from schemas.models import Gate, Manifest, Probe

ITEMS = ["a", "b", "c", "d"]


def graph_bytes(seed: int = 1) -> bytes:
    """history (batch, 50) → logits (batch, 5): a table looked up by the last token."""
    table = np.random.default_rng(seed).normal(size=(5, 5)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["history", "last"], ["newest"], axis=1),
        helper.make_node("Gather", ["table", "newest"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "newest",
        [helper.make_tensor_value_info("history", TensorProto.INT64, ["batch", 50])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 5])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array(49), "last")],
    )
    opset = [helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()


@dataclass
class Version:
    """A version in the making: change a field, then `put`."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    graph: bytes = field(default_factory=graph_bytes)
    feature_schema: str = field(default_factory=feature_schema_hash)
    task: str = "recommend"

    def ranker(self) -> bytes:
        weights = {
            "names": list(FEATURE_NAMES),
            "coef": [0.0] * len(FEATURE_NAMES),
            "bias": -1.0,
            "version": "first",
        }
        return encode({"home": weights})

    def manifest(self) -> Manifest:
        tokens = [[0] * 49 + [1], [0] * 48 + [2, 3]]
        answers = SequenceGraph(self.graph).logits(np.array(tokens, np.int64))
        files = [
            digest(GRAPH, self.graph),
            digest(VOCABULARY, encode(ITEMS)),
            digest(RANKER, self.ranker()),
        ]
        return identified(
            Manifest(
                task=self.task,
                version="",
                parent=None,
                retrain_id="r1",
                trained_at_ms=1_300_000_000_000,
                data_from_ms=0,
                data_until_ms=1_300_000_000_000,
                offsets={},
                rows=0,
                code_revision="test",
                lock_hash="",
                seed=1,
                parameters={},
                gate=Gate(passed=True),
                feature_schema=self.feature_schema,
                vocabulary_size=len(ITEMS),
                files=files,
                probe=Probe(histories=tokens, outputs=answers.tolist()),
            )
        )

    def put(self, store: ArtefactStore, manifest: Manifest | None = None) -> str:
        """Signs and stores the version, as it should be or with another manifest."""
        content = manifest or self.manifest()
        data = encode(content)
        files = {
            GRAPH: self.graph,
            VOCABULARY: encode(ITEMS),
            RANKER: self.ranker(),
            MANIFEST: data,
            SIGNATURE: sign(self.key, data),
        }
        store.put(self.task, content.version, files)
        return content.version


def path_of(store: ArtefactStore, version: str, name: str) -> Path:
    """Where a file of a version lies, for tests that tamper with it."""
    return store.root / "recommend" / version / name


def changed(manifest: Manifest, **fields: object) -> Manifest:
    """The manifest with other fields and the id that goes with them."""
    return identified(msgspec.structs.replace(manifest, **fields))
