"""Versions appear whole, stay as they are, and the newest three are kept."""

from pathlib import Path

import pytest

from adapters.artefacts import ArtefactStore
from schemas.errors import BadSettings, RejectedModel

FILES = {"manifest.json": b"{}", "sequence.onnx": b"graph"}


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore((tmp_path / "with space").as_uri())


def test_what_was_put_is_got(store: ArtefactStore) -> None:
    store.put("recommend", "20110301-a", FILES)
    assert store.get("recommend", "20110301-a", "sequence.onnx") == b"graph"
    assert store.versions("recommend") == ["20110301-a"]
    assert store.versions("search") == []


@pytest.mark.parametrize("url", ["s3://bucket/a", "http://127.0.0.1/a", "artefacts", "file://", ""])
def test_other_schemes_are_refused_by_name(url: str) -> None:
    with pytest.raises(BadSettings, match=r"SHOPLOOP_ARTEFACTS.*only file://"):
        ArtefactStore(url)


def test_a_half_written_version_is_not_listed_and_a_new_put_replaces_it(
    store: ArtefactStore,
) -> None:
    half = store.root / "recommend" / ".incoming-v1"
    half.mkdir(parents=True)
    (half / "manifest.json").write_bytes(b"{}")
    assert store.versions("recommend") == []
    store.put("recommend", "v1", FILES)
    assert store.versions("recommend") == ["v1"]
    assert not half.exists()


def test_putting_the_same_version_again_changes_nothing(store: ArtefactStore) -> None:
    store.put("recommend", "v1", FILES)
    before = (store.root / "recommend" / "v1").stat().st_ino
    store.put("recommend", "v1", FILES)
    assert (store.root / "recommend" / "v1").stat().st_ino == before


def test_a_damaged_version_is_repaired_by_putting_it_again(store: ArtefactStore) -> None:
    store.put("recommend", "v1", FILES)
    (store.root / "recommend" / "v1" / "sequence.onnx").write_bytes(b"damaged")
    store.put("recommend", "v1", FILES)
    assert store.get("recommend", "v1", "sequence.onnx") == b"graph"
    assert [p.name for p in (store.root / "recommend").iterdir()] == ["v1"]


def test_pruning_keeps_the_newest_three_and_those_in_use(store: ArtefactStore) -> None:
    for day in range(1, 7):
        store.put("recommend", f"2011030{day}-x", FILES)
    assert store.prune("recommend", {"20110301-x"}, kept=1) == ["20110302-x", "20110303-x"]
    assert store.versions("recommend") == [f"2011030{d}-x" for d in (1, 4, 5, 6)]


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "x" * 200])
def test_names_that_leave_the_version_are_refused(store: ArtefactStore, name: str) -> None:
    with pytest.raises(RejectedModel):
        store.get("recommend", "v1", name)
    with pytest.raises(RejectedModel):
        store.put("recommend", name, FILES)
