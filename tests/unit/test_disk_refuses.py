"""A disk that takes nothing: a replica answers, records by the broker alone, and says so."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from core.settings import Settings
from schemas.errors import Unavailable
from serving.checkpoint import Checkpoints, Place
from serving.direct import Direct
from serving.ledger import Ledger
from serving.memory_rows import MemoryRows, Row
from serving.missing import Missing
from serving.outbox import Outgoing
from serving.rows_over import RowsOver
from serving.saving import Saving
from serving.state_store import state_of

RECORDS = [Outgoing("predictions", b"v", b"{}", [])]


def refusing(home: Path) -> None:
    """A file where the folder should be: nothing can be made in it."""
    (home / "serving").write_text("")


def test_a_record_waits_for_the_broker_and_is_said_to_be_there() -> None:
    direct, woken = Direct(within_s=60.0), threading.Event()
    waiting = threading.Thread(target=direct.put, args=(RECORDS, woken.set))
    waiting.start()
    assert woken.wait(60)
    assert direct.take() == RECORDS
    direct.said(is_sent=True)
    waiting.join(timeout=60)
    assert not waiting.is_alive()
    assert direct.take() == []


def test_what_the_broker_does_not_take_is_refused_then_at_once_then_tried_again() -> None:
    now_s, tries = 0.0, 0
    direct = Direct(within_s=0.001, clock=lambda: now_s)

    def wake() -> None:
        nonlocal tries
        tries += 1

    for second, expected in ((0.0, 1), (0.0005, 1), (0.01, 2)):
        now_s = second
        with pytest.raises(Unavailable, match="broker"):
            direct.put(RECORDS, wake)
        assert tries == expected
    assert direct.take() == []


def test_records_are_refused_while_neither_disk_nor_broker_takes_them(tmp_path: Path) -> None:
    refusing(tmp_path)
    ledger = Ledger(Settings(home=str(tmp_path), kafka="127.0.0.1:9"), "serving-1")
    ledger._direct = Direct(within_s=0.001)
    with pytest.raises(Unavailable, match="disk takes no records"):
        ledger.put(RECORDS)
    assert ledger.is_refused
    assert ledger.waiting.records == 0
    ledger.close()


def test_a_disk_that_fills_has_answers_wait_for_the_broker_until_it_takes_them(
    tmp_path: Path,
) -> None:
    ledger = Ledger(Settings(home=str(tmp_path), kafka="127.0.0.1:9"), "serving-1")
    ledger._direct = Direct(within_s=0.001)
    spool = ledger._spool
    assert spool is not None
    full, whole = os.open("/dev/full", os.O_WRONLY), spool._file
    spool._file = full
    with pytest.raises(Unavailable, match="disk takes no records"):
        ledger.put(RECORDS)
    assert ledger.is_refused
    spool._file = whole
    os.close(full)
    ledger.put(RECORDS)
    assert not ledger.is_refused
    assert ledger.waiting.records == 1
    ledger.close()


def test_a_state_that_no_disk_takes_is_kept_in_memory(tmp_path: Path) -> None:
    refusing(tmp_path)
    rows = state_of(tmp_path, "serving-1")
    assert isinstance(rows, MemoryRows)
    rows.write([(b"b/2", b"two"), (b"b/1", b"one"), (b"c/1", b"other"), (b"b/3", None)])
    assert list(rows.under(b"b/", b"2")) == [(b"b/2", b"two")]
    rows.write([(b"b/1", None)])
    assert list(rows.under(b"b/")) == [(b"b/2", b"two")]
    rows.clear()
    assert rows.get(b"c/1") is None


def test_a_state_in_use_is_no_state_that_the_disk_refuses(tmp_path: Path) -> None:
    store = state_of(tmp_path, "serving-1")
    assert store.is_on_disk
    with pytest.raises(Unavailable):
        state_of(tmp_path, "serving-1")
    store.close()


def test_what_is_missing_is_named() -> None:
    missing = Missing({"spool": lambda: True, "state": lambda: False})
    assert missing.names == ["spool"]
    (found,) = missing.collect()
    assert {each.labels["part"]: each.value for each in found.samples} == {"spool": 1, "state": 0}


class Refusing(MemoryRows):
    """Rows of a disk that can be told to refuse."""

    is_on_disk = True
    refuses: tuple[str, ...] = ()

    def get(self, key: bytes) -> bytes | None:
        self._may("get")
        return super().get(key)

    def write(self, rows: Iterable[Row]) -> None:
        self._may("write")
        super().write(rows)

    def clear(self) -> None:
        self._may("clear")
        super().clear()

    def _may(self, what: str) -> None:
        if what in self.refuses:
            raise Unavailable("the disk")


def test_rows_are_in_memory_over_those_of_a_disk_that_begins_to_refuse(tmp_path: Path) -> None:
    disk = Refusing(tmp_path)
    rows = RowsOver(disk)
    rows.write([(b"a/1", b"old"), (b"a/2", b"gone"), (b"a/3", b"kept")])
    assert rows.is_on_disk
    disk.refuses = ("write",)
    rows.write([(b"a/1", b"new"), (b"a/2", None), (b"a/4", b"more")])
    assert not rows.is_on_disk
    expected = [(b"a/1", b"new"), (b"a/3", b"kept"), (b"a/4", b"more")]
    assert list(rows.under(b"a/")) == expected
    assert [rows.get(key) for key, _ in expected] == [value for _, value in expected]
    assert rows.get(b"a/2") is None
    assert disk.get(b"a/1") == b"old"  # what the next start finds
    disk.refuses = ("write", "get", "clear")
    assert (rows.get(b"a/3"), rows.get(b"a/4")) == (None, b"more")
    rows.clear()
    assert list(rows.under(b"a/")) == []


def test_a_disk_that_refuses_checkpoints_later_ends_nothing(tmp_path: Path) -> None:
    disk = Refusing(tmp_path)
    kept = Checkpoints(RowsOver(disk), Settings())
    kept.load("cluster")
    saving = Saving(kept, threading.Lock(), lambda: Place({}, None))
    kept.state.apply("ann", "view_item", ["cake"], 1)
    saving.save(kept.state)
    assert kept.is_on_disk
    valid = disk.get(b"head")
    disk.refuses = ("write",)
    kept.state.apply("bob", "view_item", ["tea"], 2)
    saving.save(kept.state)
    saving.save(kept.state)
    assert not kept.is_on_disk
    assert set(kept.state.visitors) == {"ann", "bob"}
    assert disk.get(b"head") == valid


def test_a_state_whose_folder_is_gone_is_begun_anew_in_memory(tmp_path: Path) -> None:
    rows = state_of(tmp_path, "serving-1")
    kept = Checkpoints(rows, Settings())
    kept.load("cluster")
    saving = Saving(kept, threading.Lock(), lambda: Place({}, None))
    rows.write([(b"visitor/ann", b"")])
    shutil.rmtree(rows.path)
    saving.save(kept.state)
    kept.clear()
    assert not kept.is_on_disk
    rows.write([(b"a", b"kept")])
    assert rows.get(b"a") == b"kept"
    assert rows.get(b"visitor/ann") is None
    rows.close()
