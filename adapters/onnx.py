"""A model version as serving uses it: verified first, then an ONNX Runtime session and its files.

Nothing here runs code from an artefact: JSON, and a graph of standard operators. It decides
nothing; a version that fails a check is refused with the reason.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

from adapters.artefacts import ArtefactStore
from adapters.sequence_graph import Floats, SequenceGraph, may_refer
from adapters.version_files import (
    Rest,
    decoded,
    decoded_strings,
    load_manifest,
    no_rest,
    verified_files,
)
from core.model_version import GRAPH, ITEM_VECTORS, RANKER, VOCABULARY
from core.ranking import RankerWeights
from core.sequence import HISTORY_LENGTH, ITEMS_AT_ONCE, SequenceScores, SequenceVocabulary
from schemas.errors import RejectedModel
from schemas.models import Manifest, Probe

NORMALISED_WITHIN = 1e-3
VALUES_AT_ONCE = 8_000_000
"""Log-probabilities of one run of a graph. ONNX Runtime keeps what runs took: of 32 histories over
a million items 600 MiB at once, 275 by eight."""
NEEDED_FILES = (GRAPH, VOCABULARY, RANKER)
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
    values_at_once: int = VALUES_AT_ONCE

    def score(
        self, histories: Sequence[Sequence[str]], columns: Sequence[int] | slice = slice(None)
    ) -> Floats:
        """Log-probabilities of the next item, shape (batch, V+1); column 0 is minus infinity.

        Histories are newest last; items that the vocabulary does not know are dropped. With
        `columns`, only these.
        """
        if not histories:
            return np.zeros((0, len(self.vocabulary) + 1), np.float32)[:, columns]
        parts = self._logits(histories)
        return np.concatenate([log_probabilities(part)[:, columns] for part in parts])

    def sequences(self, histories: Sequence[Sequence[str]]) -> list[SequenceScores]:
        """The same as `core.candidates.gather` takes it, one per history.

        Equal histories, as the surfaces of one visit have, are scored once.
        """
        distinct = dict.fromkeys(map(tuple, histories))
        parts = self._logits(list(distinct))
        if not self.normalised:
            parts = map(log_probabilities, parts)
        rows = (SequenceScores(row[1:], self.words) for part in parts for row in part)
        said = dict(zip(distinct, rows, strict=True))
        return [said[tuple(history)] for history in histories]

    def _logits(self, histories: Sequence[Sequence[str]]) -> Iterator[Floats]:
        """What the graph answers, so many histories at a time that memory stays bounded."""
        at_once = max(1, self.values_at_once // (len(self.vocabulary) + 1))
        for first in range(0, len(histories), at_once):
            part = histories[first : first + at_once]
            yield self.graph.logits(np.stack([self.words.encode(history) for history in part]))


def log_probabilities(logits: Floats) -> Floats:
    """Log-softmax over columns 1 to V, shape (batch, V+1); column 0 becomes minus infinity."""
    known = logits[:, 1:]
    top = known.max(axis=1, keepdims=True)
    shifted = known - top
    result = np.full_like(logits, -np.inf)
    result[:, 1:] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


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
    files = verified_files(store, manifest, _needed(manifest), rest)
    vocabulary = decoded_strings(files, VOCABULARY, rest)
    if len(vocabulary) != manifest.vocabulary_size:
        raise RejectedModel("malformed_file", f"{version}: {VOCABULARY} has another size")
    ranker = decoded(files, RANKER, dict[str, RankerFile])
    graph, normalised = _probed_graph(files, manifest, store.folder(task, version))
    return LoadedVersion(
        version=version,
        manifest=manifest,
        vocabulary=vocabulary,
        ranker={surface: _weights(file) for surface, file in ranker.items()},
        words=SequenceVocabulary(vocabulary, _index(vocabulary, rest)),
        graph=graph,
        normalised=normalised,
    )


def probe_difference(graph: SequenceGraph, probe: Probe) -> float:
    """The largest absolute difference to the expected logits; infinite when shapes differ.

    An expected row holds the first columns of the answer, as many as it has.
    """
    return _difference(_answers(graph, probe), probe)


def _answers(graph: SequenceGraph, probe: Probe) -> Floats:
    histories = probe.histories or [[0] * HISTORY_LENGTH]
    return graph.logits(np.asarray(histories, np.int64))


def _difference(answers: Floats, probe: Probe) -> float:
    if not probe.histories or len(answers) != len(probe.outputs):
        return float("inf")
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


def _needed(manifest: Manifest) -> list[str]:
    """What is read of a version: its item vectors, too, where its graph may refer to them."""
    sizes = {entry.path: entry.size_bytes for entry in manifest.files}
    vectors_bytes = sizes.get(ITEM_VECTORS)
    if vectors_bytes is None or not may_refer(sizes.get(GRAPH, 0), vectors_bytes):
        return list(NEEDED_FILES)
    return [*NEEDED_FILES, ITEM_VECTORS]


def _index(item_ids: list[str], rest: Rest) -> dict[str, int]:
    """Each item's place, with turns for other threads."""
    index: dict[str, int] = {}
    for first in range(0, len(item_ids), ITEMS_AT_ONCE):
        part = item_ids[first : first + ITEMS_AT_ONCE]
        index.update(zip(part, range(first, first + len(part)), strict=True))
        rest()
    return index


def _probed_graph(
    files: Mapping[str, bytes], manifest: Manifest, folder: Path
) -> tuple[SequenceGraph, bool]:
    """The graph, and whether its answers to the probe are log-probabilities over columns 1 to V."""
    probe = manifest.probe
    try:
        graph = SequenceGraph(files[GRAPH], files.get(ITEM_VECTORS, b""), folder)
        answers = _answers(graph, probe)
    except GRAPH_ERRORS as error:
        raise RejectedModel("wrong_answers", f"{manifest.version}: {error}") from error
    difference = _difference(answers, probe)
    if difference > probe.tolerance:
        raise RejectedModel(
            "wrong_answers",
            f"{manifest.version} answers its probe {difference:.2g} off, "
            f"at most {probe.tolerance:.2g}",
        )
    sums = np.exp(answers[:, 1:], dtype=np.float64).sum(axis=1)
    return graph, bool(np.all(np.abs(sums - 1.0) < NORMALISED_WITHIN))
