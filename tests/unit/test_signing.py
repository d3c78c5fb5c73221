"""Keys are made once, are private to their owner, and a changed byte breaks a signature."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.signing import (
    is_signed,
    load_or_create,
    load_signing_key,
    load_verify_key,
    sign,
)
from schemas.errors import BadSettings, Unavailable


def test_a_key_pair_is_made_once_and_the_private_half_is_for_its_owner(tmp_path: Path) -> None:
    first = load_or_create(tmp_path)
    again = load_or_create(tmp_path)
    assert first.private_bytes_raw() == again.private_bytes_raw()
    assert stat.S_IMODE((tmp_path / "keys" / "signing.pem").stat().st_mode) == 0o600
    assert sorted(p.name for p in (tmp_path / "keys").iterdir()) == ["signing.pem", "verify.pem"]


def test_the_verify_key_checks_what_the_signing_key_signed(tmp_path: Path) -> None:
    signature = sign(load_or_create(tmp_path), b"manifest")
    assert is_signed(load_verify_key(tmp_path), b"manifest", signature)


def test_before_a_trainer_has_started_there_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="start the trainer"):
        load_verify_key(tmp_path)


def test_a_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    path.write_text("not a key")
    with pytest.raises(BadSettings, match=r"signing\.pem"):
        load_signing_key(path)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    load_or_create(folder)
    return folder


@given(data=st.binary(min_size=1, max_size=200), place=st.integers(0, 199), bit=st.integers(0, 7))
def test_any_flipped_bit_breaks_the_signature(
    home: Path, data: bytes, place: int, bit: int
) -> None:
    signature = sign(load_or_create(home), data)
    changed = bytearray(data)
    changed[place % len(data)] ^= 1 << bit
    assert is_signed(load_verify_key(home), data, signature)
    assert not is_signed(load_verify_key(home), bytes(changed), signature)
