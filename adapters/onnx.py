"""A model version as serving uses it: verified first, then an ONNX Runtime session and its files.

Nothing here runs code from an artefact: JSON, and a graph of standard operators. It decides
nothing; a version that fails a check is refused with the reason.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np
import onnxruntime
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

from adapters.artefacts import ArtefactStore
from adapters.version_files import Rest, decoded, load_manifest, no_rest, verified_files
from core.model_version import GRAPH, RANKER, VOCABULARY
from core.ranking import RankerWeights
from core.sequence import SequenceScores, SequenceVocabulary
from schemas.errors import RejectedModel
from schemas.models import Manifest, Probe

NORMALISED_WITHIN = 1e-3
NEEDED_FILES = (GRAPH, VOCABULARY, RANKER)
Floats = NDArray[np.float32]
GRAPH_ERRORS = (
    runtime_errors.Fail,
    runtime_errors.InvalidArgument,
    runtime_errors.InvalidGraph,
    runtime_errors.InvalidProtobuf,
    runtime_errors.NotImplemented,
    runtime_errors.RuntimeException,
    ValueError,
)


class RankerFile(msgspec.Struct, frozen=True, kw_only=True):
    """One surface of `ranker.json`."""

    names: list[str]
    coef: list[float]
    bias: float
    version: str


class SequenceGraph:
    """An ONNX graph from tokens (batch, 50), int64, to logits (batch, V+1), on one thread."""

    def __init__(self, graph: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = _session(graph, options)

    def logits(self, tokens: NDArray[np.int64]) -> Floats:
        """Raw scores, shape (batch, V+1); column 0 has no meaning."""
        return np.asarray(self._session.run(["logits"], {"history": tokens})[0], np.float32)


@dataclass(frozen=True)
class LoadedVersion:
    """One verified version, ready to answer.

    `normalised` says that its graph answers with log-probabilities, as its probe has shown.
    """

    version: str
    manifest: Manifest
    vocabulary: list[str]
    ranker: dict[str, RankerWeights]
    words: SequenceVocabulary
    graph: SequenceGraph
    normalised: bool = False

    @cached_property
    def index(self) -> dict[str, int]:
        """Each item's column, from 1; made when it is asked for, as answers need none of it."""
        return {item: column + 1 for item, column in self.words.index.items()}

    def score(self, histories: Sequence[Sequence[str]]) -> Floats:
        """Log-probabilities of the next item, shape (batch, V+1); column 0 is minus infinity.

        Histories are newest last; items that the vocabulary does not know are dropped.
        """
        if not histories:
            return np.zeros((0, len(self.vocabulary) + 1), np.float32)
        return log_probabilities(self.graph.logits(self._tokens(histories)))

    def sequences(self, histories: Sequence[Sequence[str]]) -> list[SequenceScores]:
        """The same as `core.candidates.gather` takes it, one per history.

        Equal histories, as the surfaces of one visit have, are scored once.
        """
        distinct = dict.fromkeys(map(tuple, histories))
        found = self._said(list(distinct))
        rows = [SequenceScores(row[1:], self.words) for row in found]
        said = dict(zip(distinct, rows, strict=True))
        return [said[tuple(history)] for history in histories]

    def _said(self, histories: Sequence[Sequence[str]]) -> Floats:
        """As `score`, but for column 0; what is normalised already is left as it is."""
        if not self.normalised or not histories:
            return self.score(histories)
        return self.graph.logits(self._tokens(histories))

    def _tokens(self, histories: Sequence[Sequence[str]]) -> NDArray[np.int64]:
        return np.stack([self.words.encode(history) for history in histories])


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


def log_probabilities(logits: Floats) -> Floats:
    """Log-softmax over columns 1 to V, shape (batch, V+1); column 0 becomes minus infinity."""
    known = logits[:, 1:]
    top = known.max(axis=1, keepdims=True)
    shifted = known - top
    result = np.full_like(logits, -np.inf)
    result[:, 1:] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def is_normalised(graph: SequenceGraph, probe: Probe) -> bool:
    """Whether the answers to the probe are log-probabilities over columns 1 to V."""
    answers = graph.logits(np.asarray(probe.histories, np.int64))[:, 1:].astype(np.float64)
    return bool(np.all(np.abs(np.exp(answers).sum(axis=1) - 1.0) < NORMALISED_WITHIN))


def load_version(
    store: ArtefactStore,
    task: str,
    version: str,
    verify_key: Ed25519PublicKey,
    feature_schema: str,
    rest: Rest = no_rest,
) -> LoadedVersion:
    """The version, after signature, digests, schema hash and probe have been verified.

    `rest` is called between pieces of the work, so that loading need not take a whole core.
    Raises RejectedModel with reason missing_file, unsigned, bad_signature, malformed_manifest,
    digest_mismatch, schema_mismatch, malformed_file or wrong_answers.
    """
    manifest = load_manifest(store, task, version, verify_key)
    if manifest.feature_schema != feature_schema:
        raise RejectedModel(
            "schema_mismatch",
            f"{version} was trained on feature schema {manifest.feature_schema}, "
            f"this process computes {feature_schema}",
        )
    files = verified_files(store, manifest, NEEDED_FILES, rest)
    vocabulary = decoded(files, VOCABULARY, list[str])
    if len(vocabulary) != manifest.vocabulary_size:
        raise RejectedModel("malformed_file", f"{version}: {VOCABULARY} has another size")
    ranker = decoded(files, RANKER, dict[str, RankerFile])
    graph = _probed_graph(files[GRAPH], manifest)
    words = SequenceVocabulary(vocabulary)
    return LoadedVersion(
        version=version,
        manifest=manifest,
        vocabulary=vocabulary,
        ranker={surface: _weights(file) for surface, file in ranker.items()},
        words=words,
        graph=graph,
        normalised=is_normalised(graph, manifest.probe),
    )


def probe_difference(graph: SequenceGraph, probe: Probe) -> float:
    """The largest absolute difference to the expected logits; infinite when shapes differ.

    An expected row holds the first columns of the answer, as many as it has.
    """
    if not probe.histories or len(probe.histories) != len(probe.outputs):
        return float("inf")
    answers = graph.logits(np.asarray(probe.histories, np.int64))
    worst = 0.0
    for answer, expected in zip(answers, probe.outputs, strict=True):
        if not 0 < len(expected) <= len(answer):
            return float("inf")
        difference = np.abs(answer[: len(expected)] - np.asarray(expected, np.float32)).max()
        worst = max(worst, float(difference)) if np.isfinite(difference) else float("inf")
    return worst


def _weights(file: RankerFile) -> RankerWeights:
    return RankerWeights(
        names=tuple(file.names),
        coef=np.asarray(file.coef, np.float64),
        bias=file.bias,
        version=file.version,
    )


def _probed_graph(data: bytes, manifest: Manifest) -> SequenceGraph:
    try:
        graph = SequenceGraph(data)
        difference = probe_difference(graph, manifest.probe)
    except GRAPH_ERRORS as error:
        raise RejectedModel("wrong_answers", f"{manifest.version}: {error}") from error
    if difference > manifest.probe.tolerance:
        raise RejectedModel(
            "wrong_answers",
            f"{manifest.version} answers its probe {difference:.2g} off, "
            f"at most {manifest.probe.tolerance:.2g}",
        )
    return graph
