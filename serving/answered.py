"""What was answered under which Idempotency-Key: a file that processes of a machine share.

SQLite with a write-ahead log: what was written is safe from kills, not from a loss of power, so the
file is that of one boot of the machine and nothing is ever waited for on the disk. A call that is
being answered is a row of its process without an answer; it counts as long as that process lives,
which a lock says that the system lets go with it. One thread uses it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from adapters.boot import boot_id, files_of_former_boots
from schemas.ids import new_id
from serving.idempotency import DAY_S, Kept
from serving.responses import Response

MOST_BYTES = 256_000_000
LONGEST_CALL_S = 120.0  # whose process lives and does not end it has lost it
BUSY_S = 0.05
_TIDY_EVERY, _TIDIED = 100, 200
_ROWS = """CREATE TABLE IF NOT EXISTS answers (
    place TEXT PRIMARY KEY, body BLOB NOT NULL, at_s REAL NOT NULL, owner TEXT NOT NULL,
    status INTEGER, media TEXT, answer BLOB)"""
_WRECKED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

Work = Callable[[], Any]


class Answered:
    """The file; a failure is an sqlite3.Error or OSError, and the next attempt opens it anew.

    Args:
        folder: where the file and the locks are; made when it is first used.
        now_s: wall time in seconds, which all processes share.
        most_bytes: about how large it gets; the oldest answers go first.
    """

    def __init__(
        self, folder: Path, now_s: Callable[[], float] = time.time, most_bytes: int = MOST_BYTES
    ) -> None:
        self._folder = folder
        self._now_s = now_s
        self._most_bytes = most_bytes
        self._me = new_id()
        self._path = folder / f"answers-{boot_id()}.sqlite"
        self._db: sqlite3.Connection | None = None
        self._inode = 0
        self._alive = -1
        self._ends = _TIDY_EVERY  # begins with what lies there of processes that are gone

    def together(self, works: Sequence[Work]) -> list[Any]:
        """What each of these calls of the other methods returns: all of them are done, or none."""
        try:
            db = self._open()
            db.execute("BEGIN IMMEDIATE")
            found = [work() for work in works]
            if self._ends >= _TIDY_EVERY:
                self._tidy(db)
            db.execute("COMMIT")
        except BaseException as error:
            self._shut()
            if _is_wreck(error) and self._is_there():
                _remove(self._path)  # nobody can read it: the next one begins anew
            raise
        return found

    def begin(self, place: str, body: bytes) -> Kept | None:
        """What is known of a call; None when it was not made before: it is this process's now.

        `body` is a digest of its body. To be done `together`, as `end` is.
        """
        db, now_s = self._opened, self._now_s()
        mine = (body, now_s, self._me)
        added = "INSERT INTO answers VALUES (?, ?, ?, ?, NULL, NULL, NULL) ON CONFLICT DO NOTHING"
        if db.execute(added, (place, *mine)).rowcount:
            return None
        row = db.execute("SELECT * FROM answers WHERE place = ?", (place,)).fetchone()
        _, known, at_s, owner, status, media, answer = row
        if status is not None and at_s >= now_s - DAY_S:
            return Kept(known, at_s, Response(status, answer, media))
        if status is None and at_s >= now_s - LONGEST_CALL_S and self._lives(owner):
            return Kept(known, at_s, None)
        taken = "UPDATE answers SET body = ?, at_s = ?, owner = ?, status = NULL WHERE place = ?"
        db.execute(taken, (*mine, place))
        return None

    def end(self, place: str, response: Response | None) -> None:
        """Keeps the answer of a call that this process began, or forgets that it was made."""
        db, mine = self._opened, (place, self._me)
        if response is None:
            db.execute("DELETE FROM answers WHERE place = ? AND owner = ?", mine)
            return
        self._ends += 1
        db.execute(
            "UPDATE answers SET status = ?, media = ?, answer = ? WHERE place = ? AND owner = ?",
            (response.status, response.media, response.body, *mine),
        )

    def close(self) -> None:
        """Lets go of the file; calls that were not ended may be made anew."""
        self._shut()
        if self._alive >= 0:
            (self._folder / f"{self._me}.alive").unlink(missing_ok=True)
            os.close(self._alive)
            self._alive = -1

    @property
    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            raise sqlite3.ProgrammingError("nothing is done but together")
        return self._db

    def _open(self) -> sqlite3.Connection:
        if self._db is not None and self._is_there():
            return self._db
        self._shut()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._alive < 0:
            self._alive = _held(self._folder / f"{self._me}.alive")
            self._sweep()
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        self._inode = self._path.stat().st_ino
        self._db = _connected(self._path)
        return self._db

    def _is_there(self) -> bool:
        """Whether the file is still the one at its place: another process may have begun anew."""
        try:
            return self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def _shut(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _lives(self, owner: str) -> bool:
        if owner == self._me:
            return True
        return not _is_free(self._folder / f"{owner}.alive")

    def _sweep(self) -> None:
        """Removes files of former boots after a day, and the locks of processes that are gone."""
        for path in files_of_former_boots(self._folder, "answers-*.sqlite", self._path):
            _remove(path)
        for path in self._folder.glob("*.alive"):
            if path.stem != self._me:
                _is_free(path, remove=True)

    def _tidy(self, db: sqlite3.Connection) -> None:
        """Of the oldest few, forgets those of yesterday; all of them while it is too large."""
        self._ends = 0
        pages, free, size = (
            db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        horizon_s = self._now_s() - DAY_S
        if (pages - free) * size > self._most_bytes:
            horizon_s = float("inf")
        oldest = "SELECT rowid FROM answers ORDER BY rowid LIMIT ?"
        gone = f"DELETE FROM answers WHERE rowid IN ({oldest}) AND at_s < ?"
        db.execute(gone, (_TIDIED, horizon_s))


def _connected(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = OFF")
        db.execute(_ROWS)
    except BaseException:
        db.close()
        raise
    return db


def _held(path: Path) -> int:
    """A descriptor that holds the lock; anew where somebody took it for a dead one's meanwhile."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file).st_nlink:
            return file
        os.close(file)


def _is_free(path: Path, *, remove: bool = False) -> bool:
    """Whether no living process holds this lock; removed, where wanted, while nobody can."""
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if remove:
            path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


def _is_wreck(error: BaseException) -> bool:
    code = getattr(error, "sqlite_errorcode", 0)  # its lowest byte is the kind
    return isinstance(error, sqlite3.DatabaseError) and code & 0xFF in _WRECKED


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
