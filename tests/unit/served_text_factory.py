"""Small signed versions of text tasks with random networks, made by the trainer's own export."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.artefacts import ArtefactStore
from adapters.onnx_text import TextGraph
from adapters.signing import sign
from adapters.text_version import HEAD, TEXT_GRAPH, TOKENIZER, VECTOR_GRAPH
from core.model_version import MANIFEST, SIGNATURE, digest, identified
from core.search_blend import BlendWeights
from schemas.codec import encode
from schemas.models import Gate, Manifest, Probe

COLOURS = ("red", "blue", "green", "black")
THINGS = ("cup", "shoe", "lamp", "chair")
LABELS = ("refund", "card", "hello")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *COLOURS, *THINGS, *LABELS]


@dataclass
class TextVersionMade:
    """A version in the making: change a file or a field of its manifest, then `put`."""

    task: str
    kind: str
    files: dict[str, bytes]
    tokens: list[list[int]]
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    changes: dict[str, Any] = field(default_factory=dict)

    def probe(self) -> Probe:
        """What the graph says of a few texts now."""
        name = VECTOR_GRAPH if self.kind == "search" else TEXT_GRAPH
        rows = [TextGraph(self.files[name]).rows([ids])[0] for ids in self.tokens]
        return Probe(histories=self.tokens, outputs=[row.astype(float).tolist() for row in rows])

    def manifest(self) -> Manifest:
        """The manifest that goes with the files, with the changes."""
        fields: dict[str, Any] = {
            "task": self.task, "version": "", "parent": None, "retrain_id": "r1",
            "trained_at_ms": 1_300_000_000_000, "data_from_ms": 0,
            "data_until_ms": 1_300_000_000_000, "offsets": {}, "rows": 0, "code_revision": "test",
            "lock_hash": "", "seed": 1, "gate": Gate(passed=True), "feature_schema": "",
            "vocabulary_size": len(WORDS), "kind": self.kind,
            "parameters": {"graph": VECTOR_GRAPH if self.kind == "search" else TEXT_GRAPH},
            "files": [digest(name, data) for name, data in sorted(self.files.items())],
        }  # fmt: skip
        if "probe" not in self.changes:
            fields["probe"] = self.probe()
        return identified(Manifest(**(fields | self.changes)))

    def put(self, store: ArtefactStore) -> str:
        """Signs and stores the version; returns its name."""
        manifest = self.manifest()
        data = encode(manifest)
        files = {**self.files, MANIFEST: data, SIGNATURE: sign(self.key, data)}
        store.put(self.task, manifest.version, files)
        return manifest.version


def made_classifier(task: str = "desk") -> TextVersionMade:
    """A classifier of three labels with random weights."""
    return TextVersionMade(task, "classify", dict(_classifier()), [[2, 5, 9, 3], [2, 13, 3]])


def made_search(task: str = "search") -> TextVersionMade:
    """A search model with random weights and a blend in which words count most."""
    return TextVersionMade(task, "search", dict(_search()), [[2, 5, 9, 3], [2, 10, 3]])


def _encoder() -> Any:
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    from trainer.pretrain.encoder import Encoder

    torch.manual_seed(1)
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, "[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64,
    )  # fmt: skip
    return Encoder(BertModel(config, add_pooling_layer=False), tokenizer)


@cache
def _classifier() -> tuple[tuple[str, bytes], ...]:
    from trainer.finetune.model import HeadCard, TextModel
    from trainer.judge.export import text_graph

    card = HeadCard(kind="classify", labels=LABELS, length=32, temperature=2.0)
    model = TextModel(_encoder(), card).eval()
    files = {
        TEXT_GRAPH: text_graph(model),
        TOKENIZER: model.tokenizer.to_str().encode(),
        HEAD: msgspec.json.encode(card),
    }
    return tuple(files.items())


@cache
def _search() -> tuple[tuple[str, bytes], ...]:
    from trainer.search.export import version_files
    from trainer.search.lexical import Bm25Settings
    from trainer.search.model import SearchCard, SearchModel
    from trainer.search.networks import PairModel, VectorModel

    columns = ("bm25_title", "bm25_product", "title_share", "product_share", "title_all", "dense",
               "cross")  # fmt: skip
    card = SearchCard(
        bm25={"title": Bm25Settings(body_copies=0), "product": Bm25Settings()},
        best_bm25="product", query_length=12, product_length=24, pair_length=32,
    )  # fmt: skip
    blend = BlendWeights(
        columns=columns,
        weights=(2.0, 1.0, 1.0, 1.0, 1.0, 0.1, 0.1),
        centres=(0.0,) * len(columns),
        scales=tuple(np.ones(len(columns)).tolist()),
    )
    model = SearchModel(VectorModel(_encoder()), PairModel(_encoder()), card, blend)
    return tuple(version_files(model).items())
