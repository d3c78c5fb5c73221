"""A stage's memory on this machine: state, input offsets and outbox in one SQLite file.

Everything a batch changes is written in one transaction, so that after a crash the state, how far
the inputs were read and what was to be sent agree. Knows no Kafka and no meaning of its rows.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

_SCHEMA = """
CREATE TABLE IF NOT EXISTS state (
    partition INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
    value BLOB NOT NULL, at_ms INTEGER, PRIMARY KEY (partition, kind, key));
CREATE TABLE IF NOT EXISTS offsets (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
    PRIMARY KEY (topic, partition));
CREATE TABLE IF NOT EXISTS outbox (one INTEGER PRIMARY KEY CHECK (one = 1), outs BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS batch (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL);
INSERT OR IGNORE INTO batch VALUES (1, 0);
"""
RowKey = tuple[int, str, str]
Place = tuple[str, int]


class Out(msgspec.Struct, frozen=True, array_like=True):
    """One record to send: `topic` is Kafka's name, `to` a partition or None for the key's own.

    `source` is the input partition that brought it about.
    """

    source: int
    topic: str
    key: bytes | None
    value: bytes | None
    to: int | None = None
    headers: list[tuple[str, bytes | None]] = []


class Changes:
    """What one batch changes, the last word on each row."""

    def __init__(self) -> None:
        self.puts: dict[RowKey, tuple[bytes, int | None]] = {}
        self.deletes: set[RowKey] = set()
        self.outs: list[Out] = []

    def put(self, row: RowKey, value: bytes, at_ms: int | None = None) -> None:
        """The row holds this from now on."""
        self.puts[row] = (value, at_ms)
        self.deletes.discard(row)

    def delete(self, row: RowKey) -> None:
        """The row is gone from now on."""
        self.puts.pop(row, None)
        self.deletes.add(row)

    def __bool__(self) -> bool:
        return bool(self.puts or self.deletes or self.outs)


class Store:
    """One stage's file. Used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # Values are kilobytes: larger pages and rarer checkpoints write them 40 % cheaper.
        self._db.execute("PRAGMA page_size=8192")
        self._db.execute("PRAGMA cache_size=-16000")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA wal_autocheckpoint=4000")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        self.batch = int(self._db.execute("SELECT number FROM batch").fetchone()[0])

    def write(self, changes: Changes, offsets: dict[Place, int]) -> None:
        """Carries the changes out, replaces the outbox and counts the batch, all or nothing."""
        encode = msgspec.msgpack.encode
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            db.executemany(
                "DELETE FROM state WHERE partition = ? AND kind = ? AND key = ?", changes.deletes
            )
            db.executemany(
                "INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?, ?)",
                ((*row, *value) for row, value in changes.puts.items()),
            )
            db.executemany(
                "INSERT OR REPLACE INTO offsets VALUES (?, ?, ?)",
                ((*place, following) for place, following in offsets.items()),
            )
            db.execute("INSERT OR REPLACE INTO outbox VALUES (1, ?)", (encode(changes.outs),))
            db.execute("UPDATE batch SET number = ?", (self.batch + 1,))
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        self.batch += 1

    def get(self, row: RowKey) -> bytes | None:
        """What the row holds."""
        found = self._db.execute(
            "SELECT value FROM state WHERE partition = ? AND kind = ? AND key = ?", row
        ).fetchone()
        return None if found is None else bytes(found[0])

    def rows(self, partition: int, kind: str) -> Iterator[tuple[str, bytes, int]]:
        """(key, value, at_ms) of every row of a kind, by at_ms and then key."""
        yield from self._db.execute(
            "SELECT key, value, at_ms FROM state WHERE partition = ? AND kind = ?"
            " ORDER BY at_ms, key",
            (partition, kind),
        )

    def moments(self, partition: int, kind: str) -> list[tuple[int, str]]:
        """(at_ms, key) of the rows of a kind that have a time, without their values."""
        return self._db.execute(
            "SELECT at_ms, key FROM state WHERE partition = ? AND kind = ?"
            " AND at_ms IS NOT NULL ORDER BY at_ms, key",
            (partition, kind),
        ).fetchall()

    def offsets(self) -> dict[Place, int]:
        """The next offset of each input place."""
        found = self._db.execute("SELECT topic, partition, next FROM offsets").fetchall()
        return {(topic, partition): following for topic, partition, following in found}

    def outbox(self) -> list[Out]:
        """What the newest batch had to send."""
        found = self._db.execute("SELECT outs FROM outbox").fetchone()
        return msgspec.msgpack.decode(found[0], type=list[Out]) if found else []

    def forget(self, partitions: Iterable[int], topics: Iterable[str]) -> None:
        """Drops everything known of some partitions: their state and their offsets."""
        names = list(topics)
        self._db.execute("BEGIN IMMEDIATE")
        for partition in partitions:
            self._db.execute("DELETE FROM state WHERE partition = ?", (partition,))
            self._db.executemany(
                "DELETE FROM offsets WHERE topic = ? AND partition = ?",
                [(name, partition) for name in names],
            )
        self._db.execute("COMMIT")

    def back_up(self, path: Path) -> None:
        """Copies the whole file, consistent, to another path."""
        target = sqlite3.connect(path)
        try:
            self._db.backup(target)
        finally:
            target.close()

    def close(self) -> None:
        """Closes the file; what was written stays."""
        self._db.close()
