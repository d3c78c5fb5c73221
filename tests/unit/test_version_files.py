"""Files of a version are verified in pieces, with rests, and only what is needed is kept."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from version_factory import Version

import adapters.artefacts
from adapters.artefacts import ArtefactStore
from adapters.version_files import verified_files
from schemas.errors import RejectedModel
from schemas.models import FileDigest, Manifest

PIECE = 7


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters.artefacts, "PIECE_BYTES", PIECE)


def manifest(files: dict[str, bytes]) -> Manifest:
    listed = [
        FileDigest(path=name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
        for name, data in files.items()
    ]
    made = Version().manifest()
    return Manifest(
        **{name: getattr(made, name) for name in made.__struct_fields__ if name != "files"},
        files=listed,
    )


def store(folder: Path, signed: Manifest, files: dict[str, bytes]) -> ArtefactStore:
    made = ArtefactStore(folder.as_uri())
    made.put(signed.task, signed.version, {**files, "manifest.json": b"{}"})
    return made


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(needed=st.binary(max_size=40), other=st.binary(max_size=40), at=st.integers(0, 39))
def test_pieces_are_the_file_and_any_changed_byte_is_found(
    tmp_path_factory: pytest.TempPathFactory, needed: bytes, other: bytes, at: int
) -> None:
    files = {"graph": needed, "notes": other}
    signed = manifest(files)
    rests: list[int] = []
    folder = tmp_path_factory.mktemp("sound")
    held = verified_files(store(folder, signed, files), signed, ["graph"], lambda: rests.append(1))
    assert held == {"graph": needed}
    assert len(rests) == sum(-(-len(data) // PIECE) for data in files.values())
    for name, data in files.items():
        if at >= len(data):
            continue
        spoiled = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        for bad in (spoiled, data[:at], data + b"x"):
            folder = tmp_path_factory.mktemp("bad")
            with pytest.raises(RejectedModel) as caught:
                verified_files(store(folder, signed, {**files, name: bad}), signed, ["graph"])
            assert caught.value.reason == "digest_mismatch"


def test_a_file_longer_than_signed_is_not_read_to_its_end(tmp_path: Path) -> None:
    files = {"graph": b"g" * PIECE}
    signed = manifest(files)
    rests: list[int] = []
    long = store(tmp_path, signed, {"graph": b"g" * PIECE * 100})
    with pytest.raises(RejectedModel):
        verified_files(long, signed, ["graph"], lambda: rests.append(1))
    assert len(rests) == 1
