"""A version of a text task as serving uses it: verified first, then ONNX sessions and a tokenizer.

As `adapters/onnx.py` does for sequences: nothing runs code from an artefact, and a version that
fails a check is refused with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tokenizers import Tokenizer

from adapters.artefacts import ArtefactStore
from adapters.onnx_text import Floats, TextGraph
from adapters.text_probe import answering, check_probe, check_probes, check_shape
from adapters.version_files import Rest, decoded, load_manifest, no_rest, verified_files
from core.model_version import sha256
from core.search_blend import BlendWeights
from core.search_columns import Bm25Form, known_columns
from schemas.errors import RejectedModel
from schemas.models import Manifest

TEXT_GRAPH, VECTOR_GRAPH, PAIR_GRAPH = "text.onnx", "vectors.onnx", "pairs.onnx"
TOKENIZER, HEAD, SEARCH_CARD, BLEND = "tokenizer.json", "head.json", "search.json", "blend.json"
SEARCH = "search"
LABELLING = ("classify", "regress")
ROWS_AT_ONCE = 32


class HeadCard(msgspec.Struct, frozen=True, kw_only=True):
    """What of head.json serving reads; temperature, centre and scale are in the graph."""

    kind: str
    labels: list[str] = []
    length: int = 128


class SearchCard(msgspec.Struct, frozen=True, kw_only=True):
    """What of search.json serving reads; lengths are in tokens."""

    bm25: dict[str, Bm25Form]
    query_length: int
    product_length: int
    pair_length: int


class Reader:
    """Texts as token ids, cut to a length; one per length, so that threads may share it."""

    def __init__(self, tokenizer: bytes, length: int) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer.decode())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(length)
        self.size = self._tokenizer.get_vocab_size()

    def ids(self, text: str, pair: str = "") -> list[int]:
        """The ids of a text, with its pair where it has one; one id at least."""
        encode = self._tokenizer.encode
        found: list[int] = (encode(text, pair) if pair else encode(text)).ids
        return found or [0]


@dataclass(frozen=True)
class LabellingVersion:
    """A classifier or a regression, ready to answer."""

    version: str
    manifest: Manifest
    card: HeadCard
    graph: TextGraph
    reader: Reader
    size_bytes: int

    def outputs(self, texts: Sequence[tuple[str, str]]) -> Floats:
        """Logits or values of texts with their pairs, shape (n, outputs)."""
        tokens = [self.reader.ids(text, pair) for text, pair in texts]
        return self.graph.rows(tokens, batch_rows=ROWS_AT_ONCE)


@dataclass(frozen=True)
class SearchVersion:
    """A search model, ready to answer: vectors of texts, logits of pairs, and the blend."""

    version: str
    manifest: Manifest
    card: SearchCard
    blend: BlendWeights
    vectors: TextGraph
    pairs: TextGraph
    width: int
    query_reader: Reader
    product_reader: Reader
    pair_reader: Reader
    size_bytes: int

    def query_vectors(self, queries: Sequence[str]) -> Floats:
        """A vector of length one per query, shape (n, width)."""
        return self.vectors.rows([self.query_reader.ids(one) for one in queries])

    def product_vectors(self, titles: Sequence[str]) -> Floats:
        """A vector of length one per title, shape (n, width)."""
        return self.vectors.rows([self.product_reader.ids(one) for one in titles])

    def pair_logits(self, query: str, titles: Sequence[str]) -> Floats:
        """The cross-encoder's answer for each title, shape (n,); one run."""
        tokens = [self.pair_reader.ids(query, one) for one in titles]
        return np.asarray(self.pairs.rows(tokens, batch_rows=max(len(titles), 1))[:, 0])


TextVersion = LabellingVersion | SearchVersion


def load_text_version(
    store: ArtefactStore,
    task: str,
    version: str,
    verify_key: Ed25519PublicKey,
    manifest_sha256: str = "",
    rest: Rest = no_rest,
) -> TextVersion:
    """The version, after signature, digests, kind, files and probe have been verified.

    Args:
        store: where versions are kept.
        task: the text task.
        version: its version.
        verify_key: whose signature counts.
        manifest_sha256: what the pointer says of the manifest; empty when it says nothing.
        rest: called between pieces of the work, so that loading need not take a whole core.

    Raises:
        RejectedModel: with reason missing_file, unsigned, bad_signature, malformed_manifest,
            digest_mismatch, schema_mismatch, malformed_file or wrong_answers.
    """
    manifest = load_manifest(store, task, version, verify_key)
    if manifest_sha256 and sha256(store.get(task, version, "manifest.json")) != manifest_sha256:
        raise RejectedModel("digest_mismatch", f"{version}: the manifest is not the announced one")
    if manifest.kind not in (SEARCH, *LABELLING) or manifest.feature_schema:
        raise RejectedModel(
            "schema_mismatch",
            f"{version} is of kind {manifest.kind!r} with feature schema "
            f"{manifest.feature_schema!r}: expected a text task without one",
        )
    files = verified_files(store, manifest, _needed(manifest), rest)
    if manifest.kind == SEARCH:
        return _search(manifest, files)
    return _labelling(manifest, files)


def _labelling(manifest: Manifest, files: dict[str, bytes]) -> LabellingVersion:
    served = _served_graph(manifest, files)
    card = decoded(files, HEAD, HeadCard)
    labels = len(card.labels) if card.kind == "classify" else 1
    if card.kind != manifest.kind or not labels or len(set(card.labels)) != len(card.labels):
        raise RejectedModel("malformed_file", f"{HEAD} is no card of kind {manifest.kind}")
    whole = _graph(files, TEXT_GRAPH)
    check_probe(whole, manifest.probe, manifest.version)
    graph = whole if served == TEXT_GRAPH else _graph(files, served)
    check_shape(graph, manifest, labels, served)
    check_probes({served: graph}, manifest)
    return LabellingVersion(
        version=manifest.version,
        manifest=manifest,
        card=card,
        graph=graph,
        reader=_reader(files, card.length, manifest),
        size_bytes=len(files[served]) + len(files[TOKENIZER]),
    )


def _search(manifest: Manifest, files: dict[str, bytes]) -> SearchVersion:
    card = decoded(files, SEARCH_CARD, SearchCard)
    blend = decoded(files, BLEND, BlendWeights)
    _check_blend(blend, card)
    vectors, pairs = _graph(files, VECTOR_GRAPH), _graph(files, PAIR_GRAPH)
    check_probe(vectors, manifest.probe, manifest.version)
    width = len(manifest.probe.outputs[0])
    check_shape(vectors, manifest, width, VECTOR_GRAPH)
    check_shape(pairs, manifest, 1, PAIR_GRAPH)
    check_probes({PAIR_GRAPH: pairs}, manifest)
    return SearchVersion(
        version=manifest.version,
        manifest=manifest,
        card=card,
        blend=blend,
        vectors=vectors,
        pairs=pairs,
        width=width,
        query_reader=_reader(files, card.query_length, manifest),
        product_reader=_reader(files, card.product_length, manifest),
        pair_reader=_reader(files, card.pair_length, manifest),
        size_bytes=sum(len(files[name]) for name in (VECTOR_GRAPH, PAIR_GRAPH, TOKENIZER)),
    )


def _needed(manifest: Manifest) -> set[str]:
    """The files that serving reads."""
    if manifest.kind == SEARCH:
        return {VECTOR_GRAPH, PAIR_GRAPH, TOKENIZER, SEARCH_CARD, BLEND}
    return {TEXT_GRAPH, TOKENIZER, HEAD, str(manifest.parameters.get("graph", TEXT_GRAPH))}


def _served_graph(manifest: Manifest, files: dict[str, bytes]) -> str:
    name = str(manifest.parameters.get("graph", TEXT_GRAPH))
    if not name.endswith(".onnx") or name not in files:
        raise RejectedModel("malformed_manifest", f"{manifest.version} serves {name!r}: no graph")
    return name


def _reader(files: dict[str, bytes], length: int, manifest: Manifest) -> Reader:
    try:
        reader = Reader(files[TOKENIZER], length)
    except Exception as error:  # the library raises nothing narrower
        raise RejectedModel("malformed_file", f"{TOKENIZER}: {error}") from error
    if reader.size != manifest.vocabulary_size:
        raise RejectedModel("malformed_file", f"{manifest.version}: {TOKENIZER} has another size")
    return reader


def _check_blend(blend: BlendWeights, card: SearchCard) -> None:
    numbers = (blend.weights, blend.centres, blend.scales)
    strange = set(blend.columns) - known_columns(card.bm25)
    sound = (
        len(blend.columns) > 0
        and all(len(each) == len(blend.columns) for each in numbers)
        and all(math.isfinite(one) for each in numbers for one in each)
        and all(scale > 0 for scale in blend.scales)
    )
    if strange or not sound:
        raise RejectedModel("malformed_file", f"{BLEND}: {sorted(strange) or 'unsound numbers'}")


def _graph(files: dict[str, bytes], name: str) -> TextGraph:
    return answering(lambda: TextGraph(files[name]), name)
