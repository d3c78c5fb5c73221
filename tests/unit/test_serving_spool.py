"""The spool keeps what was put, in order, whatever byte a kill stopped at."""

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.framing import framed, frames
from schemas.errors import BadSettings, Unavailable
from serving.spool import DiskRefuses, Spool

payloads = st.lists(st.binary(max_size=60), max_size=12)


def _all(spool: Spool) -> list[bytes]:
    found = []
    while taken := spool.take(3):
        found.extend(taken.payloads)
        spool.done(taken)
    return found


@given(payloads, st.data())
def test_frames_cut_anywhere_give_the_whole_ones_and_nothing_else(
    kept: list[bytes], data: st.DataObject
) -> None:
    written = b"".join(framed(each, 7) for each in kept)
    cut = data.draw(st.integers(0, len(written)))
    found = [frame.payload for frame in frames(written[:cut])]
    assert found == kept[: len(found)]
    assert sum(len(framed(each, 7)) for each in kept[: len(found) + 1]) > cut or found == kept


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=8), st.data())
def test_flipped_bit_is_noticed(kept: list[bytes], data: st.DataObject) -> None:
    written = bytearray(b"".join(framed(each, 7) for each in kept))
    place = data.draw(st.integers(0, len(written) - 1))
    written[place] ^= 1 << data.draw(st.integers(0, 7))
    found = [frame.payload for frame in frames(bytes(written))]
    assert found == kept[: len(found)]
    assert len(found) < len(kept)


@given(st.lists(payloads, max_size=6), st.data())
def test_kill_at_any_byte_loses_no_record_that_was_put(
    batches: list[list[bytes]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        spool = Spool(folder, 10**6, segment_bytes=100)
        for batch in batches:
            spool.append(batch, 7)
        finished = data.draw(st.integers(0, 5))
        done = 0
        for _ in range(finished):
            if taken := spool.take(2):
                spool.done(taken)
                done += len(taken.payloads)
        spool.close()
        last = max(folder.glob("*.spool"))
        torn = framed(b"never acknowledged", 8)
        with last.open("ab") as file:
            file.write(torn[: data.draw(st.integers(0, len(torn) - 1))])
        again = Spool(folder, 10**6, segment_bytes=100)
        put = [payload for batch in batches for payload in batch]
        assert again.waiting.records == len(put) - done
        again.append([b"after"], 9)
        assert _all(again) == [*put[done:], b"after"]
        assert (again.waiting.records, again.waiting.size_bytes) == (0, 0)
        assert again.end == len(put) + 1
        again.close()


def test_full_spool_refuses_and_takes_again_once_there_is_room(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100)
    spool.append([b"x" * 60], 1)
    with pytest.raises(Unavailable, match="full"):
        spool.append([b"y" * 60], 2)
    assert (spool.waiting.records, spool.waiting.oldest_ms) == (1, 1)
    assert _all(spool) == [b"x" * 60]
    spool.append([b"y" * 60], 3)
    assert _all(spool) == [b"y" * 60]
    spool.close()


def test_a_process_out_of_descriptors_refuses_and_writes_to_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool", 10_000, segment_bytes=50)
    spool.append([b"x" * 60], 1)
    opened = os.open

    def refused(path: Any, flags: int, *rest: Any) -> int:
        if str(path).endswith(".spool") and not flags & os.O_CREAT:
            raise OSError(errno.EMFILE, "too many open files")
        return opened(path, flags, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refused)
        with pytest.raises(Unavailable, match="cannot be written"):
            spool.append([b"y"], 2)
    with (tmp_path / "caller").open("wb", buffering=0) as other:
        spool.append([b"z"], 3)
        assert other.tell() == 0
    assert (tmp_path / "caller").read_bytes() == b""
    assert _all(spool) == [b"x" * 60, b"z"]
    spool.close()


def test_finished_segments_are_deleted(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10**6, fsync=True, segment_bytes=50)
    for number in range(20):
        spool.append([f"record {number}".encode() * 3], number)
    assert len(list(tmp_path.glob("*.spool"))) > 5
    assert len(_all(spool)) == 20
    assert len(list(tmp_path.glob("*.spool"))) == 1
    spool.close()


def test_what_the_note_missed_can_be_skipped(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10**6, segment_bytes=40)
    spool.append([b"a", b"b", b"c"], 1)
    spool.append([b"d"], 1)
    spool.skip_to(2)
    assert _all(spool) == [b"c", b"d"]
    spool.close()


def test_numbers_known_elsewhere_are_not_given_again(tmp_path: Path) -> None:
    """After a loss of power the disk may know less than the broker."""
    spool = Spool(tmp_path, 10**6)
    spool.append([b"a"], 1)
    spool.skip_to(50)
    assert (spool.waiting.records, spool.end) == (0, 50)
    spool.append([b"b"], 1)
    taken = spool.take()
    assert taken is not None
    assert (taken.first, taken.payloads) == (50, [b"b"])
    spool.close()


def test_a_spool_that_the_disk_refused_can_be_tried_again(tmp_path: Path) -> None:
    (tmp_path / "done").mkdir()  # no file can be opened there
    for _ in range(2):
        with pytest.raises(DiskRefuses):
            Spool(tmp_path, 100)
    (tmp_path / "done").rmdir()
    Spool(tmp_path, 100).close()


def test_second_process_is_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100)
    with pytest.raises(BadSettings, match="in use"):
        Spool(tmp_path, 100)
    spool.close()
    Spool(tmp_path, 100).close()


def test_name_lives_as_long_as_the_folder(tmp_path: Path) -> None:
    first = Spool(tmp_path / "one", 100)
    other = Spool(tmp_path / "two", 100)
    first.close()
    again = Spool(tmp_path / "one", 100)
    assert first.name == again.name != other.name
    again.close()
    other.close()


def test_what_a_refusing_disk_left_half_written_damages_nothing_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError("input/output error")

    spool, write = Spool(tmp_path, 10_000), os.write
    with monkeypatch.context() as broken:
        broken.setattr(os, "write", lambda file, data: write(file, data[: len(data) // 2]))
        broken.setattr(os, "ftruncate", refuse)
        with pytest.raises(DiskRefuses):
            spool.append([b"refused"], 1)
        with pytest.raises(DiskRefuses):
            spool.append([b"refused, too"], 2)
    spool.append([b"taken"], 3)
    taken = spool.take()
    assert taken is not None
    assert taken.payloads == [b"taken"]
    spool.close()
    again = Spool(tmp_path, 10_000)
    assert again.waiting.records == 1
    again.close()


def test_a_note_that_cannot_be_read_is_the_disks_refusal_each_time(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "done")
    for _ in range(2):
        with pytest.raises(DiskRefuses):
            Spool(tmp_path, 10_000)
