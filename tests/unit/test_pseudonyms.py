"""Pseudonyms: stable, apart, without the secret; and the file that holds it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.pepper import load_pepper
from core.pseudonyms import parse_pepper
from core.settings import Settings
from schemas.errors import BadSettings

ONE = "k1:" + "0f" * 32
TWO = f"# rotated in spring\n{ONE}\n\nk2:{'a0' * 16}\n"
_IDS = st.text(min_size=1, max_size=128)


@given(_IDS, _IDS)
def test_equal_ids_and_only_they_have_equal_pseudonyms(one: str, other: str) -> None:
    pepper, again = parse_pepper(ONE), parse_pepper(ONE)
    assert pepper.pseudonym("visitor", one) == again.pseudonym("visitor", one)
    same = pepper.pseudonym("visitor", one) == pepper.pseudonym("visitor", other)
    assert same == (one == other)
    assert pepper.pseudonym("user", one) != pepper.pseudonym("visitor", one)
    assert len(pepper.pseudonym("visitor", one)) == len("k1.") + 32


def test_the_newest_key_speaks_and_the_older_ones_remember() -> None:
    before, after = parse_pepper(ONE), parse_pepper(TWO)
    assert after.pseudonym("visitor", "ann").startswith("k2.")
    assert after.former("visitor", "ann") == [before.pseudonym("visitor", "ann")]
    assert after.every("visitor", "ann")[-1] == after.pseudonym("visitor", "ann")
    assert not before.has_former


def test_the_secret_is_in_no_text() -> None:
    assert "0f0f" not in repr(parse_pepper(ONE))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no key"),
        ("# nothing", "holds no key"),
        ("deadbeef" * 8, "line 1: expected"),
        ("K1:" + "00" * 32, "line 1: expected"),
        ("k1:" + "00" * 15, "line 1: the key needs 16 bytes"),
        (ONE + "\n" + ONE, "line 2: key k1 is there twice"),
        ("k1:" + "0g" * 32, "line 1: expected"),
    ],
)
def test_a_bad_file_is_refused_without_showing_it(text: str, said: str) -> None:
    with pytest.raises(BadSettings, match=said) as caught:
        parse_pepper(text)
    assert "0000" not in str(caught.value)
    assert "deadbeef" not in str(caught.value)


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pepper"
    path.write_text(ONE)
    path.chmod(0o640)
    settings = Settings(pepper_file=str(path))
    with pytest.raises(BadSettings, match="chmod 600"):
        load_pepper(settings)
    path.chmod(0o600)
    assert repr(load_pepper(settings)) == "Pepper(k1)"
    assert load_pepper(Settings()) is None
    with pytest.raises(BadSettings, match="cannot be read"):
        load_pepper(Settings(pepper_file=str(tmp_path / "none")))
