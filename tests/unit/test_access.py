"""API keys: their form, who is let through, rotation, and what a keys file may hold."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.access import (
    ANY,
    SCOPES,
    ApiKey,
    Granted,
    KeyRing,
    Refused,
    decide,
    issued,
    new_secret,
    parse_keys,
    parted,
    rotated,
)
from schemas.errors import BadSettings

SALT = bytes(range(16))


def made(
    name: str = "shop", scopes: tuple[str, ...] = ("recommend",), seed: int = 1
) -> tuple[str, ApiKey]:
    return issued(name, scopes, bytes([seed]) * 5, bytes([seed]) * 25, SALT, now_ms=0)


def asked(
    text: str | None, key: ApiKey, scope: str = "recommend", now_ms: int = 10
) -> Granted | Refused:
    return decide(text, {key.key_id: key}, scope, now_ms)


def test_a_key_has_two_hundred_bits_and_the_entry_does_not_hold_them() -> None:
    text, key = made()
    parts = parted(text)
    assert parts is not None
    assert len(parts[1]) * 5 == 200
    assert parts[1] not in repr(key)
    assert parts[1].encode() not in msgspec.json.encode(key)


@given(
    st.binary(min_size=25, max_size=25),
    st.binary(min_size=25, max_size=25),
    st.binary(min_size=16, max_size=16),
)
def test_a_secret_proves_itself_and_no_other(one: bytes, other: bytes, salt: bytes) -> None:
    text, key = issued("a", ("search",), bytes(5), one, salt, now_ms=0)
    wrong, _ = new_secret(key.key_id, other, salt, now_ms=0)
    assert isinstance(asked(text, key, "search"), Granted)
    assert isinstance(asked(wrong, key, "search"), Granted) == (one == other)


@given(st.text(max_size=140))
def test_no_text_whatever_raises_or_passes(text: str) -> None:
    _, key = made()
    assert isinstance(asked(text, key), Refused)
    assert isinstance(asked("sl_" + text, key), Refused)
    assert isinstance(asked(f"sl_{key.key_id}_{text}", key), Refused)


@given(st.sets(st.sampled_from([*SCOPES, "*"]), min_size=1), st.sampled_from(SCOPES))
def test_a_scope_is_granted_exactly_when_the_key_has_it(scopes: set[str], wanted: str) -> None:
    text, key = made(scopes=tuple(scopes))
    answer = asked(text, key, wanted)
    assert isinstance(answer, Granted) == (wanted in scopes or "*" in scopes)
    if isinstance(answer, Refused):
        assert (answer.reason, answer.status) == ("scope", 403)
    assert isinstance(asked(text, key, ANY), Granted)


def test_reasons_and_statuses() -> None:
    text, key = made()
    dated = msgspec.structs.replace(key, from_ms=100, until_ms=200)
    assert asked(None, key) == Refused("missing")
    assert asked("nonsense", key) == Refused("invalid")
    assert decide(text, {}, "recommend", 10) == Refused("invalid")
    assert asked(text, dated, now_ms=99) == Refused("early")
    assert isinstance(asked(text, dated, now_ms=100), Granted)
    assert asked(text, dated, now_ms=200) == Refused("expired")
    assert Refused("expired").status == 401


def test_two_secrets_are_valid_until_the_old_one_ends() -> None:
    old, key = made()
    new, fresh = new_secret(key.key_id, b"2" * 25, b"3" * 16, now_ms=1_000)
    both = rotated(key, fresh, 1_000, overlap_ms=500)
    assert isinstance(asked(old, both, now_ms=1_499), Granted)
    assert asked(old, both, now_ms=1_500) == Refused("invalid")
    assert isinstance(asked(new, both, now_ms=9_999), Granted)
    assert parse_keys(msgspec.json.encode(KeyRing(keys=(both,)))).keys == (both,)


@given(st.lists(st.tuples(st.integers(0, 1_000), st.integers(0, 1_000)), max_size=8))
def test_rotation_never_keeps_more_than_two_nor_lengthens_a_life(
    steps: list[tuple[int, int]],
) -> None:
    _, key = made()
    now_ms = 0
    for number, (pause_ms, overlap_ms) in enumerate(steps):
        now_ms += pause_ms
        ends = {each.digest: each.until_ms for each in key.secrets}
        _, fresh = new_secret(key.key_id, bytes([number]) * 25, SALT, now_ms=now_ms)
        key = rotated(key, fresh, now_ms, overlap_ms)
        assert 1 <= len(key.secrets) <= 2
        assert key.secrets[-1] == fresh
        for each in key.secrets[:-1]:
            before = ends[each.digest]
            assert each.until_ms is not None
            assert each.until_ms <= now_ms + overlap_ms
            assert before is None or each.until_ms <= before


@pytest.mark.parametrize(
    "change",
    [
        {"scopes": ()},
        {"scopes": ("all",)},
        {"secrets": ()},
        {"rate": -1.0},
        {"secrets": ({"salt": "00", "digest": "00", "made_ms": 0},)},
        {"secrets": ({"salt": "zz" * 16, "digest": "00" * 32, "made_ms": 0},)},
        {"until": 5},
    ],
)
def test_a_file_with_a_key_that_cannot_be_used_is_refused(change: dict[str, object]) -> None:
    _, key = made()
    entry = msgspec.to_builtins(key) | change
    with pytest.raises(BadSettings):
        parse_keys(msgspec.json.encode({"keys": [entry]}))


def test_an_id_twice_and_what_is_no_json_are_refused() -> None:
    _, key = made()
    for data in (msgspec.json.encode(KeyRing(keys=(key, key))), b"{", b"\xff", b"[]"):
        with pytest.raises(BadSettings):
            parse_keys(data)
