"""A vocabulary read in pieces is the one that is written, and nothing else is taken for one."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.version_files import decoded_strings
from schemas.errors import RejectedModel

STRINGS = st.lists(st.text(alphabet='",\\[]a\u00e9\n ', max_size=5), max_size=30)


@given(STRINGS, st.integers(0, 20))
def test_pieces_are_the_whole(strings: list[str], piece_bytes: int) -> None:
    data = msgspec.json.encode(strings)
    assert decoded_strings({"v": data}, "v", piece_bytes=piece_bytes) == strings
    spaced = msgspec.json.format(data)
    assert decoded_strings({"v": spaced}, "v", piece_bytes=piece_bytes) == strings


def test_others_have_turns_between_pieces() -> None:
    rests: list[int] = []
    data = msgspec.json.encode([f"i{n}" for n in range(1_000)])
    assert len(decoded_strings({"v": data}, "v", lambda: rests.append(1), 1_000)) == 1_000
    assert 5 < len(rests) < 10


@pytest.mark.parametrize(
    "data",
    [b"", b"[", b'x"a","b"]', b'["a","b"', b'["a","b"]["c","d"]', b'["a","b"],"c"]', b'["a",2,"b"]',
     b'["a","\xff","b"]', b'{"a":"b"}', b'["a",,"b"]', b'["a","b",]'],
)  # fmt: skip
def test_what_is_no_array_of_strings_is_refused(data: bytes) -> None:
    for piece_bytes in (0, 3, 100):
        with pytest.raises(RejectedModel) as caught:
            decoded_strings({"v": data}, "v", piece_bytes=piece_bytes)
        assert caught.value.reason == "malformed_file"
