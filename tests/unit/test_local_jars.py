"""The jar lock: what is checked, what is refused and how it is said."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from local import jars
from local.jars import Jar
from schemas.errors import BadSettings


def jar_of(content: bytes) -> Jar:
    return Jar("org.example", "thing", "1.0", hashlib.sha256(content).hexdigest(), len(content))


def test_the_committed_lock_holds_the_broker_and_no_jar_twice() -> None:
    locked = jars.read_lock()
    names = [jar.coordinate for jar in locked]
    assert jars.KAFKA in names
    assert jars.LOGGING in names
    assert len(set(names)) == len(names) == len({jar.filename for jar in locked})
    assert all(len(jar.sha256) == 64 and jar.size_bytes > 0 for jar in locked)


def test_a_lock_that_is_written_reads_the_same(tmp_path: Path) -> None:
    jars.write_lock(jars.read_lock(), tmp_path / "lock")
    assert jars.read_lock(tmp_path / "lock") == jars.read_lock()
    assert (tmp_path / "lock").read_text() == jars.LOCK.read_text()


def test_a_cached_jar_that_matches_is_used_without_the_network(tmp_path: Path) -> None:
    jars.write_lock([jar_of(b"right")], tmp_path / "lock")
    path = tmp_path / "thing-1.0.jar"
    path.write_bytes(b"right")
    assert jars.ensure(tmp_path, lock=tmp_path / "lock") == (path,)


def test_a_corrupted_jar_is_refused_with_both_digests_and_the_way_out(tmp_path: Path) -> None:
    jar = jar_of(b"right")
    jars.write_lock([jar], tmp_path / "lock")
    path = tmp_path / "thing-1.0.jar"
    path.write_bytes(b"wrong")
    with pytest.raises(BadSettings) as raised:
        jars.ensure(tmp_path, lock=tmp_path / "lock")
    said = str(raised.value)
    actual = hashlib.sha256(b"wrong").hexdigest()
    for part in (str(path), actual, jar.sha256, "delete the file", "shoploop up --refetch"):
        assert part in said
    assert "\n" not in said


@pytest.mark.parametrize("line", ["only-one-word", "a:b:c deadbeef big", "a:b deadbeef 3"])
def test_a_broken_lock_line_is_quoted(tmp_path: Path, line: str) -> None:
    (tmp_path / "lock").write_text(f"# head\n{line}\n")
    with pytest.raises(BadSettings, match=line):
        jars.read_lock(tmp_path / "lock")


def test_a_missing_lock_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="nowhere"):
        jars.read_lock(tmp_path / "nowhere")
