"""The check of each request: open or closed, keys that change while it runs, rates, its cost."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest

from adapters.access_check import ANYONE, AccessCheck, access_check_of, presented_in
from adapters.keys_file import KeysFile, changing, keys_path, read_keys, write_keys
from core.access import ApiKey, KeyRing, issued
from core.settings import Settings
from schemas.errors import BadSettings, Denied


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def made(seed: int = 1, **changes: object) -> tuple[str, ApiKey]:
    text, key = issued(
        "shop", ("recommend",), bytes([seed]) * 5, bytes([seed]) * 25, bytes(16), now_ms=0
    )
    return text, msgspec.structs.replace(key, **changes)


def bearer(text: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), (b"authorization", b"Bearer " + text.encode())]


def checking(path: Path, clock: Clock, *, local: bool = True) -> AccessCheck:
    return AccessCheck(KeysFile(path, clock), is_open_without_keys=local, now_s=clock)


def refusal(
    check: AccessCheck, headers: list[tuple[bytes, bytes]], scope: str = "recommend"
) -> Denied:
    with pytest.raises(Denied) as caught:
        check.check(headers, scope)
    return caught.value


def test_loopback_is_open_until_there_are_keys(tmp_path: Path) -> None:
    clock, path, (text, key) = Clock(), tmp_path / "keys.json", made()
    check = checking(path, clock)
    assert check.check([], "recommend") is ANYONE
    write_keys(path, KeyRing(keys=(key,)))
    clock.now_s += 1
    assert refusal(check, []).status == 401
    assert check.check(bearer(text), "recommend").name == "shop"


def test_elsewhere_nothing_is_open(tmp_path: Path) -> None:
    check = checking(tmp_path / "keys.json", Clock(), local=False)
    assert refusal(check, []).reason == "missing"
    assert refusal(check, bearer("sl_a_b")).reason == "invalid"


def test_a_revoked_key_ends_and_a_bad_file_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, path = Clock(), tmp_path / "keys.json"
    (text, key), (other_text, other) = made(1), made(2)
    write_keys(path, KeyRing(keys=(key, other)))
    check = checking(path, clock)
    check.check(bearer(text), "recommend")
    write_keys(path, KeyRing(keys=(other,)))
    clock.now_s += 0.6
    assert refusal(check, bearer(text)).reason == "invalid"
    check.check(bearer(other_text), "recommend")

    def still_the_other() -> None:
        clock.now_s += 0.6
        check.check(bearer(other_text), "recommend")

    path.write_text("{")
    still_the_other()
    write_keys(path, KeyRing(keys=(key,)))
    path.chmod(0o640)
    still_the_other()
    path.unlink()
    still_the_other()
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 3
    assert not any(text in record.getMessage() for record in caplog.records)
    write_keys(path, KeyRing(keys=(key,)))
    clock.now_s += 0.6
    check.check(bearer(text), "recommend")


def test_a_file_that_others_may_read_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_keys(path, KeyRing(keys=(made()[1],)))
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(BadSettings, match="chmod 600"):
        KeysFile(path)


def test_off_loopback_without_keys_serving_does_not_start(tmp_path: Path) -> None:
    settings = Settings(http_host="0.0.0.0", home=str(tmp_path))
    with pytest.raises(BadSettings, match="shoploop keys create"):
        access_check_of(settings, is_required=True)
    access_check_of(settings).close()
    with changing(keys_path(settings)) as ring:
        write_keys(keys_path(settings), KeyRing(keys=(*ring.keys, made()[1])))
    access_check_of(settings, is_required=True).close()
    assert len(read_keys(keys_path(settings)).keys) == 1


def test_answers_say_what_is_missing(tmp_path: Path) -> None:
    path, (text, key) = tmp_path / "keys.json", made(surfaces=("home",), tasks=("recommend",))
    write_keys(path, KeyRing(keys=(key,)))
    check = checking(path, Clock())
    assert dict(refusal(check, []).headers)["WWW-Authenticate"] == 'Bearer realm="shoploop"'
    invalid = refusal(check, bearer(text + "x"))
    assert (
        invalid.status,
        'error="invalid_token"' in dict(invalid.headers)["WWW-Authenticate"],
    ) == (
        401,
        True,
    )
    scope = refusal(check, bearer(text), "search")
    assert scope.status == 403
    assert 'scope="search"' in dict(scope.headers)["WWW-Authenticate"]
    caller = check.check([(b"x-api-key", text.encode())], "recommend")
    caller.check(surface="home", task="recommend")
    for place in ({"surface": "discover"}, {"task": "tone"}):
        with pytest.raises(Denied) as caught:
            caller.check(**place)
        assert caught.value.status == 403


def test_a_rate_is_kept_and_batches_count_whole(tmp_path: Path) -> None:
    clock, path, (text, key) = Clock(), tmp_path / "keys.json", made(rate=2.0, burst=4)
    write_keys(path, KeyRing(keys=(key,)))
    check = checking(path, clock)
    caller = check.check(bearer(text), "recommend")
    assert dict(caller.headers)["RateLimit"] == '"key";r=3;t=1'
    check.charge(caller, 3)
    refused = refusal(check, bearer(text))
    assert (refused.status, dict(refused.headers)["Retry-After"]) == (429, "1")
    clock.now_s += 0.5
    check.check(bearer(text), "recommend")


def test_a_batch_above_the_burst_passes_for_a_rested_caller_who_waits_as_told(
    tmp_path: Path,
) -> None:
    clock, path, (text, key) = Clock(), tmp_path / "keys.json", made(rate=0.5, burst=4)
    write_keys(path, KeyRing(keys=(key,)))
    check = checking(path, clock)

    def batch() -> None:
        check.charge(check.check(bearer(text), "recommend"), 9, paid=1)

    batch()
    with pytest.raises(Denied):
        check.check(bearer(text), "recommend")
    clock.now_s += 14.0  # two of the four are there again
    for _ in range(3):
        with pytest.raises(Denied) as caught:
            batch()  # costs nothing
        assert dict(caught.value.headers)["Retry-After"] == "6"
    clock.now_s += 6.0
    batch()


def test_a_bearer_goes_before_the_other_header_and_other_schemes_are_none() -> None:
    assert presented_in([(b"x-api-key", b"a"), (b"authorization", b"bearer b")]) == "b"
    assert presented_in([(b"authorization", b"Basic b")]) is None
    assert presented_in([(b"authorization", b"Bearer \xff")]) == "ÿ"
