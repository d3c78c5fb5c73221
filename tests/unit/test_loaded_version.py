"""A version is served only when nothing about it was changed after signing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray
from version_factory import ITEMS, Version, changed, graph_bytes, path_of

from adapters.artefacts import ArtefactStore
from adapters.onnx import LoadedVersion, load_version
from adapters.sequence_graph import Floats, SequenceGraph
from core.features import feature_schema_hash
from core.model_version import GRAPH, MANIFEST, RANKER, SIGNATURE, VOCABULARY, digest
from schemas.codec import encode
from schemas.errors import RejectedModel
from schemas.models import Probe


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore((tmp_path / "artefacts").as_uri())


def load(store: ArtefactStore, made: Version, version: str) -> LoadedVersion:
    return load_version(store, "recommend", version, made.key.public_key(), feature_schema_hash())


def reason(store: ArtefactStore, made: Version, version: str) -> str:
    with pytest.raises(RejectedModel) as caught:
        load(store, made, version)
    return caught.value.reason


def test_an_untouched_version_loads_and_names_its_items(store: ArtefactStore) -> None:
    made = Version()
    loaded = load(store, made, made.put(store))
    assert loaded.vocabulary == ITEMS
    assert loaded.words.index == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert loaded.ranker["home"].bias == -1.0


def test_scores_are_log_probabilities_per_history(store: ArtefactStore) -> None:
    made = Version()
    loaded = load(store, made, made.put(store))
    scores = loaded.score([["a"], ["b", "c"], []])
    assert scores.shape == (3, 5)
    assert scores.dtype == np.float32
    assert np.isneginf(scores[:, 0]).all()
    assert np.exp(scores[:, 1:]).sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert loaded.score([]).shape == (0, 5)


def test_items_the_vocabulary_does_not_know_are_dropped(store: ArtefactStore) -> None:
    made = Version()
    loaded = load(store, made, made.put(store))
    assert np.array_equal(loaded.score([["a", "unheard of"]]), loaded.score([["a"]]))
    assert len(loaded.sequences([["a"]])[0].log_probs) == len(ITEMS)


def test_equal_histories_of_a_batch_are_scored_once(store: ArtefactStore) -> None:
    made = Version()
    loaded = load(store, made, made.put(store))
    graph = _Counting(loaded.graph)
    histories = [["a"], ["b"], ["a"], [], ["b"]]
    found = replace(loaded, graph=graph).sequences(histories)
    assert graph.rows == 3
    for history, scores in zip(histories, found, strict=True):
        assert np.array_equal(scores.log_probs, loaded.score([history])[0, 1:])


def test_a_large_vocabulary_is_scored_a_few_histories_at_a_time(store: ArtefactStore) -> None:
    made = Version()
    loaded = load(store, made, made.put(store))
    graph = _Counting(loaded.graph)
    few = replace(loaded, graph=graph, values_at_once=2 * (len(ITEMS) + 1))
    histories = [["a"], ["b"], ["c"], [], ["b", "d"]]
    for found, whole in zip(few.sequences(histories), loaded.sequences(histories), strict=True):
        assert found.log_probs == pytest.approx(whole.log_probs, abs=1e-6)
    assert graph.most == 2
    assert few.score(histories, [2, 1]) == pytest.approx(
        loaded.score(histories)[:, [2, 1]], abs=1e-6
    )


class _Counting:
    """A graph that counts the rows it was asked for."""

    def __init__(self, graph: SequenceGraph) -> None:
        self.graph, self.rows, self.most = graph, 0, 0

    def logits(self, tokens: NDArray[np.int64]) -> Floats:
        self.rows += len(tokens)
        self.most = max(self.most, len(tokens))
        return self.graph.logits(tokens)


def test_a_missing_signature_is_unsigned(store: ArtefactStore) -> None:
    made = Version()
    version = made.put(store)
    path_of(store, version, SIGNATURE).unlink()
    assert reason(store, made, version) == "unsigned"


def test_another_signer_is_refused(store: ArtefactStore) -> None:
    made = Version()
    version = made.put(store)
    made.key = Ed25519PrivateKey.generate()
    assert reason(store, made, version) == "bad_signature"


@pytest.mark.parametrize("name", [MANIFEST, SIGNATURE])
def test_a_changed_byte_under_the_signature_is_refused(store: ArtefactStore, name: str) -> None:
    made = Version()
    version = made.put(store)
    path = path_of(store, version, name)
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)
    assert reason(store, made, version) == "bad_signature"


@pytest.mark.parametrize("name", [GRAPH, VOCABULARY, RANKER])
@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"), "digest_mismatch"),
        (lambda path: path.write_bytes(path.read_bytes() + b" "), "digest_mismatch"),
        (lambda path: path.unlink(), "missing_file"),
    ],
)
def test_a_changed_or_missing_file_is_refused(
    store: ArtefactStore, name: str, tamper: Callable[[Path], object], expected: str
) -> None:
    made = Version()
    version = made.put(store)
    tamper(path_of(store, version, name))
    assert reason(store, made, version) == expected


def test_a_version_that_is_not_there_is_missing(store: ArtefactStore) -> None:
    assert reason(store, Version(), "20110101-0000000000000000") == "missing_file"


def test_a_file_the_manifest_does_not_list_is_missing(store: ArtefactStore) -> None:
    made = Version()
    manifest = made.manifest()
    shorter = changed(manifest, files=[f for f in manifest.files if f.path != RANKER])
    assert reason(store, made, made.put(store, shorter)) == "missing_file"


def test_another_feature_schema_is_refused(store: ArtefactStore) -> None:
    made = Version(feature_schema="0123456789abcdef")
    assert reason(store, made, made.put(store)) == "schema_mismatch"


def test_signed_bytes_that_are_no_manifest_are_refused(store: ArtefactStore) -> None:
    made = Version()
    version = made.put(store)
    data = b'{"task": "recommend"}'
    path_of(store, version, MANIFEST).write_bytes(data)
    path_of(store, version, SIGNATURE).write_bytes(made.key.sign(data))
    assert reason(store, made, version) == "malformed_manifest"


def test_an_older_signed_manifest_in_a_newer_place_is_refused(store: ArtefactStore) -> None:
    made = Version()
    older = made.put(store)
    newer = made.put(store, changed(made.manifest(), seed=2))
    for name in (MANIFEST, SIGNATURE):
        path_of(store, newer, name).write_bytes(path_of(store, older, name).read_bytes())
    assert reason(store, made, newer) == "malformed_manifest"


def test_a_path_outside_the_version_is_refused(store: ArtefactStore) -> None:
    made = Version()
    manifest = made.manifest()
    escaping = changed(manifest, files=[*manifest.files, digest("../other", b"")])
    assert reason(store, made, made.put(store, escaping)) == "malformed_manifest"


def test_a_graph_with_other_answers_than_the_probe_is_refused(store: ArtefactStore) -> None:
    made = Version()
    manifest = made.manifest()
    off = [[value + 0.01 for value in row] for row in manifest.probe.outputs]
    wrong = Probe(histories=manifest.probe.histories, outputs=off)
    assert reason(store, made, made.put(store, changed(manifest, probe=wrong))) == "wrong_answers"


def test_a_version_without_a_probe_is_refused(store: ArtefactStore) -> None:
    made = Version()
    empty = changed(made.manifest(), probe=Probe(histories=[], outputs=[]))
    assert reason(store, made, made.put(store, empty)) == "wrong_answers"


def test_a_file_that_is_no_graph_is_refused(store: ArtefactStore) -> None:
    made = Version()
    manifest = made.manifest()
    made.graph = b"not a graph"
    files = [f for f in manifest.files if f.path != GRAPH] + [digest(GRAPH, made.graph)]
    assert reason(store, made, made.put(store, changed(manifest, files=files))) == "wrong_answers"


def test_a_vocabulary_of_another_size_is_refused(store: ArtefactStore) -> None:
    made = Version()
    wrong = changed(made.manifest(), vocabulary_size=9)
    assert reason(store, made, made.put(store, wrong)) == "malformed_file"


def test_the_same_content_has_the_same_id_and_other_content_another() -> None:
    made = Version()
    assert made.manifest().version == made.manifest().version
    assert made.manifest().version.startswith("20110313-")
    other = Version(graph=graph_bytes(seed=2))
    assert other.manifest().version != made.manifest().version
    assert encode(made.manifest()) == encode(made.manifest())
