"""A text version is served only when nothing about it was changed after signing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import numpy_helper
from served_text_factory import TextVersionMade, made_classifier, made_search

from adapters.artefacts import ArtefactStore
from adapters.home import artefacts_url
from adapters.onnx_text import TextGraph
from adapters.signing import load_or_create
from adapters.text_version import (
    BLEND,
    HEAD,
    PAIR_GRAPH,
    SEARCH_CARD,
    TEXT_GRAPH,
    TOKENIZER,
    VECTOR_GRAPH,
    LabellingVersion,
    SearchVersion,
    TextVersion,
    load_text_version,
)
from core.model_version import MANIFEST, SIGNATURE
from core.settings import Settings
from schemas.errors import RejectedModel
from schemas.models import ModelLog, ModelPointer, Probe
from serving.text_versions import TextVersions

Make = Callable[[], TextVersionMade]


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore((tmp_path / "artefacts").as_uri())


@pytest.fixture(params=[made_classifier, made_search], ids=["classify", "search"])
def made(request: pytest.FixtureRequest) -> TextVersionMade:
    found: TextVersionMade = request.param()
    return found


def load(store: ArtefactStore, made: TextVersionMade, version: str) -> TextVersion:
    return load_text_version(store, made.task, version, made.key.public_key())


def reason(store: ArtefactStore, made: TextVersionMade, version: str) -> str:
    with pytest.raises(RejectedModel) as caught:
        load(store, made, version)
    return caught.value.reason


def test_untouched_versions_load_and_say_how_many_bytes_they_hold(store: ArtefactStore) -> None:
    classifier, search = made_classifier(), made_search()
    labelling = load(store, classifier, classifier.put(store))
    assert isinstance(labelling, LabellingVersion)
    assert labelling.outputs([("red cup", ""), ("red", "cup")]).shape == (2, 3)
    assert labelling.size_bytes >= len(classifier.files[TEXT_GRAPH])
    found = load(store, search, search.put(store))
    assert isinstance(found, SearchVersion)
    assert found.query_vectors(["red cup"]).shape == (1, found.width)
    assert found.pair_logits("red cup", ["red cup", "blue shoe"]).shape == (2,)
    assert found.size_bytes >= len(search.files[VECTOR_GRAPH]) + len(search.files[PAIR_GRAPH])


def test_a_missing_signature_another_signer_and_a_changed_byte_are_refused(
    store: ArtefactStore, made: TextVersionMade
) -> None:
    version = made.put(store)
    folder = store.root / made.task / version
    whole = (folder / SIGNATURE).read_bytes()
    (folder / SIGNATURE).unlink()
    assert reason(store, made, version) == "unsigned"
    (folder / SIGNATURE).write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    assert reason(store, made, version) == "bad_signature"
    (folder / SIGNATURE).write_bytes(whole)
    made.key, real = Ed25519PrivateKey.generate(), made.key
    assert reason(store, made, version) == "bad_signature"
    made.key = real
    data = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).write_bytes(data + b" ")
    assert reason(store, made, version) == "bad_signature"


def test_every_altered_or_missing_file_is_refused(
    store: ArtefactStore, made: TextVersionMade
) -> None:
    version = made.put(store)
    for name, data in made.files.items():
        path = store.root / made.task / version / name
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert reason(store, made, version) == "digest_mismatch", name
        path.unlink()
        assert reason(store, made, version) == "missing_file", name
        path.write_bytes(data)
    assert load(store, made, version).version == version


def test_an_unlisted_file_is_missing(store: ArtefactStore, made: TextVersionMade) -> None:
    del made.files[TOKENIZER]
    assert reason(store, made, made.put(store)) == "missing_file"


@pytest.mark.parametrize("change", [{"kind": "recommend"}, {"feature_schema": "0123"}])
def test_another_kind_or_a_feature_schema_is_refused(
    store: ArtefactStore, made: TextVersionMade, change: dict[str, Any]
) -> None:
    made.changes |= change
    assert reason(store, made, made.put(store)) == "schema_mismatch"


def test_a_manifest_of_another_task_or_another_one_than_announced_is_refused(
    store: ArtefactStore, made: TextVersionMade
) -> None:
    version = made.put(store)
    other = TextVersionMade("other", made.kind, made.files, made.tokens, made.key)
    other.put(store)
    (store.root / "other" / version).mkdir(exist_ok=True)
    for name in (MANIFEST, SIGNATURE):
        data = (store.root / made.task / version / name).read_bytes()
        (store.root / "other" / version / name).write_bytes(data)
    assert reason(store, other, version) == "malformed_manifest"
    with pytest.raises(RejectedModel, match="not the announced one"):
        load_text_version(store, made.task, version, made.key.public_key(), "0" * 64)


def test_wrong_answers_to_the_probe_are_refused(
    store: ArtefactStore, made: TextVersionMade
) -> None:
    probe = made.probe()
    off = [[value + 0.01 for value in row] for row in probe.outputs]
    for wrong in (
        Probe(histories=probe.histories, outputs=off),
        Probe(histories=[], outputs=[]),
        Probe(histories=probe.histories, outputs=[row[:-1] for row in probe.outputs]),
    ):
        made.changes["probe"] = wrong
        assert reason(store, made, made.put(store)) == "wrong_answers"


def served_probes(made: TextVersionMade) -> str:
    """Has the version serve another graph than the first probe's; its name."""
    if made.kind == "search":
        return PAIR_GRAPH
    made.files["int8.onnx"] = made.files[TEXT_GRAPH]
    made.changes["parameters"] = {"graph": "int8.onnx"}
    return "int8.onnx"


def test_a_served_graph_that_answers_otherwise_than_its_own_probe_is_refused(
    store: ArtefactStore, made: TextVersionMade
) -> None:
    name = served_probes(made)
    load(store, made, made.put(store))  # as versions of old: without a probe of its own
    graph = TextGraph(made.files[name])
    outputs = [graph.rows([ids])[0].astype(float).tolist() for ids in made.tokens]
    probe = Probe(histories=made.tokens, outputs=outputs, tolerance=1e-4)
    made.changes["probes"] = {name: probe}
    load(store, made, made.put(store))
    made.files[name] = with_a_weight_changed(made.files[name])
    assert reason(store, made, made.put(store)) == "wrong_answers"
    del made.changes["probes"]
    load(store, made, made.put(store))  # nothing else would have noticed


def with_a_weight_changed(graph: bytes) -> bytes:
    """The graph with its greatest matrix negated: of the same shape, with other answers."""
    model = onnx.load_from_string(graph)
    weights = max(model.graph.initializer, key=lambda one: len(one.raw_data))
    weights.raw_data = (-numpy_helper.to_array(weights)).tobytes()
    return bytes(model.SerializeToString())


def test_a_graph_that_is_none_and_another_models_graph_are_wrong_answers(
    store: ArtefactStore, made: TextVersionMade
) -> None:
    made.changes["probe"] = made.probe()
    graphs = [name for name in made.files if name.endswith(".onnx")]
    for name in graphs:
        whole = made.files[name]
        made.files[name] = b"not a graph"
        assert reason(store, made, made.put(store)) == "wrong_answers", name
        made.files[name] = whole
    search, classifier = made_search(), made_classifier()
    search.changes["probe"] = search.probe()
    search.files[PAIR_GRAPH] = classifier.files[TEXT_GRAPH]  # three outputs where one is due
    assert reason(store, search, search.put(store)) == "wrong_answers"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (TOKENIZER, b"{}"),
        (SEARCH_CARD, b'{"bm25": 3}'),
        (BLEND, b"\xff"),
        (BLEND, b'{"columns":["views"],"weights":[1],"centres":[0],"scales":[1]}'),
        (BLEND, b'{"columns":["dense"],"weights":[1],"centres":[0],"scales":[0]}'),
        (BLEND, b'{"columns":["dense"],"weights":[1,2],"centres":[0],"scales":[1]}'),
    ],
)
def test_a_malformed_file_of_a_search_version_is_refused(
    store: ArtefactStore, name: str, data: bytes
) -> None:
    made = made_search()
    made.files[name] = data
    assert reason(store, made, made.put(store)) == "malformed_file"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"[]", "malformed_file"),
        (b'{"kind": "regress"}', "malformed_file"),
        (b'{"kind": "classify", "labels": ["a", "a", "b"]}', "malformed_file"),
        (b'{"kind": "classify", "labels": ["a", "b"]}', "wrong_answers"),
    ],
)
def test_a_head_that_does_not_fit_its_graph_is_refused(
    store: ArtefactStore, data: bytes, expected: str
) -> None:
    made = made_classifier()
    made.files[HEAD] = data
    assert reason(store, made, made.put(store)) == expected


def test_a_tokenizer_of_another_size_and_an_unlisted_served_graph_are_refused(
    store: ArtefactStore,
) -> None:
    made = made_classifier()
    made.changes["vocabulary_size"] = 7
    assert reason(store, made, made.put(store)) == "malformed_file"
    made = made_classifier()
    made.changes["parameters"] = {"graph": HEAD}
    assert reason(store, made, made.put(store)) == "malformed_manifest"
    made.changes["parameters"] = {"graph": "int8.onnx"}
    assert reason(store, made, made.put(store)) == "missing_file"


def test_a_refused_version_leaves_the_former_in_use_and_says_why(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path))
    key, store = load_or_create(tmp_path), ArtefactStore(artefacts_url(settings))
    good, bad = made_classifier(), made_classifier()
    good.key = bad.key = key
    bad.changes = {"probe": good.probe(), "seed": 2}
    bad.files[HEAD] = b"[]"
    said: list[ModelLog] = []
    versions = TextVersions(settings, "serving-1", said.append)
    for place, made in enumerate((good, bad)):
        pointer = ModelPointer(
            task=made.task, sequence=place, event_time_ms=1, champion=made.put(store)
        )
        versions.want(pointer, live=False)
        versions.obey(threading.Event())
    assert [entry.kind for entry in said] == ["swapped", "refused"]
    assert said[1].reason.startswith("malformed_file: ")
    assert versions.loaded[good.task].version == said[0].model_version
    assert (versions.swaps, versions.refusals, versions.settled) == (1, 1, True)
    versions.want(msgspec.structs.replace(pointer, champion=None), live=True)
    versions.obey(threading.Event())
    assert versions.loaded == {}


def test_a_replica_obeys_the_pointers_of_its_own_tasks_alone(tmp_path: Path) -> None:
    versions = TextVersions(Settings(served_tasks="a, b"), "serving-1", lambda _: None)
    for task in ("recommend", "a", "c"):
        pointer = ModelPointer(task=task, sequence=1, event_time_ms=1, champion=None)
        versions.want(pointer, live=True)
    assert set(versions._wanted) == {"a"}
    assert versions.known == {"a", "b"}


def test_which_tasks_there_are_is_known_once_the_pointers_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopping, versions = threading.Event(), TextVersions(Settings(), "s-1", lambda _: None)

    class Pointers:
        caught_up = False

        def __init__(self, *_arguments: object) -> None:
            self.polls = 0

        def poll(self, _timeout_s: float) -> list[Any]:
            self.polls += 1
            assert not versions.caught_up
            self.caught_up = self.polls == 3
            return []

        def close(self) -> None:
            """Nothing to leave."""

    monkeypatch.setattr("serving.text_versions.Follower", Pointers)
    monkeypatch.setattr(versions, "obey", lambda stopping: stopping.set())
    versions.follow(stopping)
    assert versions.caught_up
