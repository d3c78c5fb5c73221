"""A version keeps its item table once, and its graph takes it from there."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from version_factory import graph_bytes as older_graph

from adapters.onnx import _index
from adapters.sequence_graph import SequenceGraph, item_vectors
from adapters.version_files import no_rest
from core.item_text import text_vectors
from core.model_version import GRAPH, ITEM_VECTORS, TABLE, digest
from core.sequence import HISTORY_LENGTH, ITEMS_AT_ONCE, SequenceVocabulary
from core.version_memory import memory_bytes
from core.vocabularies import Places, Vocabularies, columns_of, places_in_parts
from trainer.recommend.export import graph_bytes, table_apart
from trainer.recommend.fit import SequenceModel
from trainer.recommend.model import SequenceNetwork, Shape

ITEMS = [f"i{n}" for n in range(3_000)]
TOKENS = np.random.default_rng(2).integers(0, len(ITEMS) + 1, (7, HISTORY_LENGTH))
TOKENS[0] = 0


@pytest.fixture(scope="module")
def whole() -> bytes:
    torch.manual_seed(1)
    network = SequenceNetwork(torch.from_numpy(text_vectors(ITEMS)), Shape())
    return graph_bytes(SequenceModel(SequenceVocabulary(ITEMS), network, (), 0.0))


@pytest.fixture
def folder(whole: bytes, tmp_path: Path) -> Path:
    """A version's folder with the graph and the table beside it."""
    for name, data in table_apart(whole).items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_a_graph_holds_its_table_once(whole: bytes) -> None:
    tables = [
        each for each in onnx.load_from_string(whole).graph.initializer if each.dims[0] > 1_000
    ]
    assert sorted(each.name for each in tables if len(each.dims) == 2) == [TABLE]


def test_a_stored_graph_answers_as_the_whole_one(whole: bytes, folder: Path) -> None:
    stored = table_apart(whole)
    graph = SequenceGraph(stored[GRAPH], stored[ITEM_VECTORS], folder)
    assert np.array_equal(graph.logits(TOKENS), SequenceGraph(whole).logits(TOKENS))
    assert stored == table_apart(whole)


def test_what_was_verified_is_used_and_not_what_lies_there_now(whole: bytes, folder: Path) -> None:
    stored = table_apart(whole)
    (folder / ITEM_VECTORS).write_bytes(bytes(len(stored[ITEM_VECTORS])))
    graph = SequenceGraph(stored[GRAPH], stored[ITEM_VECTORS], folder)
    assert np.array_equal(graph.logits(TOKENS), SequenceGraph(whole).logits(TOKENS))


def test_any_runtime_loads_a_stored_graph_from_its_folder(whole: bytes, folder: Path) -> None:
    session = onnxruntime.InferenceSession(folder / GRAPH, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"history": TOKENS})
    assert np.allclose(logits, SequenceGraph(whole).logits(TOKENS), atol=1e-5)


def test_an_older_graph_keeps_the_table_that_it_holds(whole: bytes, folder: Path) -> None:
    vectors = table_apart(whole)[ITEM_VECTORS]
    tokens = np.ones((1, HISTORY_LENGTH), np.int64)
    graph = SequenceGraph(older_graph(), vectors, folder)
    assert np.array_equal(graph.logits(tokens), SequenceGraph(older_graph()).logits(tokens))


def test_vectors_are_read_where_they_lie(whole: bytes) -> None:
    vectors = item_vectors(table_apart(whole)[ITEM_VECTORS])
    assert vectors.shape == (len(ITEMS), Shape().width)
    assert not vectors.flags.owndata


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xff" * 20,
        b"\x02\0\0\0\0\0\0\0{}",
        (len(b'{"items":{"dtype":"F64","shape":[0,0],"data_offsets":[0,0]}}')).to_bytes(8, "little")
        + b'{"items":{"dtype":"F64","shape":[0,0],"data_offsets":[0,0]}}',
        (len(b'{"items":{"dtype":"F32","shape":[2,2],"data_offsets":[0,8]}}')).to_bytes(8, "little")
        + b'{"items":{"dtype":"F32","shape":[2,2],"data_offsets":[0,8]}}12345678',
    ],
    ids=["empty", "noise", "no_items", "float64", "short"],
)
def test_what_is_no_file_of_vectors_is_a_value_error(packed: bytes) -> None:
    with pytest.raises(ValueError, match=r"item_vectors|reshape|buffer"):
        item_vectors(packed)


def test_tables_made_in_parts_are_those_made_at_once() -> None:
    items = [f"i{n}" for n in range(2 * ITEMS_AT_ONCE + 3)]
    vocabulary = SequenceVocabulary(items[1::2])
    assert _index(items, no_rest) == SequenceVocabulary(items).index
    rests: list[int] = []
    places = places_in_parts(items, vocabulary, lambda: rests.append(1))
    assert len(rests) == 3
    assert np.array_equal(places.columns, columns_of(items, vocabulary))


def test_places_of_new_items_are_added_to_those_known() -> None:
    items = [f"i{n}" for n in range(40)]
    vocabulary, known = SequenceVocabulary(items[::-3]), Vocabularies()
    known.know(Places(vocabulary, columns_of(items[:7], vocabulary)))
    for count in (7, 8, 9, 30, 40):
        assert np.array_equal(
            known.columns(items[:count], vocabulary), columns_of(items[:count], vocabulary)
        )
        afresh = Vocabularies().rows(items[:count], vocabulary)
        assert np.array_equal(known.rows(items[:count], vocabulary), afresh)


def test_the_memory_of_a_version_counts_its_table_once_wherever_it_is() -> None:
    apart = [digest(GRAPH, bytes(10)), digest(ITEM_VECTORS, bytes(1_000))]
    inside = [digest(GRAPH, bytes(2_000)), digest(ITEM_VECTORS, bytes(1_000))]
    assert memory_bytes(apart) < memory_bytes(inside) == memory_bytes(inside[:1])
