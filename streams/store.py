"""A stage's memory on this machine: state, input offsets, outbox and journal in one RocksDB.

Everything a batch changes is written at once, so that after a crash the state, how far the inputs
were read and what was to be sent agree. A stage that is journaled writes its state now and then and
a line per batch between. Knows no Kafka and no meaning of its rows.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from rocksdict import (
    BlockBasedOptions,
    Cache,
    Checkpoint,
    IngestExternalFileOptions,
    Options,
    Rdict,
    SstFileWriter,
    WriteBatch,
)

from schemas.errors import Unavailable

RowKey = tuple[int, str, str]
Place = tuple[str, int]
_WRITE_BUFFER_BYTES = 4_000_000
_CACHE_BYTES = 16_000_000
_NO_TIME = -1
_BATCH, _OUTBOX = b"batch", b"outbox"
_OFFSET, _STATE, _JOURNAL = b"offset/", b"state/", b"journal/"
_pack = msgspec.msgpack.Encoder().encode
_number = msgspec.msgpack.Decoder(int).decode


class Out(msgspec.Struct, frozen=True, array_like=True):
    """One record to send: `topic` is Kafka's name; no partition is the key's own.

    `source` is the input partition that brought it about.
    """

    source: int
    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: list[tuple[str, bytes | None]] = []


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One batch of a journaled stage: when it was worked through, and how far it read each place.

    `silent` says that its outputs had been sent by an earlier life.
    """

    batch: int
    wall_ms: int
    live: bool
    silent: bool
    until: list[tuple[str, int, int]]


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


_entry = msgspec.msgpack.Decoder(Entry).decode
_outs = msgspec.msgpack.Decoder(list[Out]).decode


class Store:
    """One stage's directory. Used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._beside = path.with_suffix(".checkpoint")
        self._made = _options()
        try:
            self._db = Rdict(str(path), self._made)
        except Exception as error:  # the binding raises nothing narrower
            raise Unavailable(f"state at {path}: {error}") from error
        known = self._db.get(_BATCH)
        self.batch = 0 if known is None else _number(known)

    def write(self, changes: Changes, offsets: dict[Place, int]) -> None:
        """Carries the changes out, replaces the outbox and counts the batch, all or nothing."""
        batch = WriteBatch(raw_mode=True)
        _carry_out(batch, changes, offsets)
        batch.put(_OUTBOX, _pack(changes.outs))
        batch.put(_BATCH, _pack(self.batch + 1))
        self._db.write(batch)
        self.batch += 1

    def note(
        self, until: dict[Place, int], wall_ms: int, *, live: bool, silent: bool = False
    ) -> None:
        """Adds a batch to the journal and counts it; its state follows with a `checkpoint`."""
        places = [(*place, following) for place, following in until.items()]
        entry = Entry(self.batch + 1, wall_ms, live, silent, places)
        batch = WriteBatch(raw_mode=True)
        batch.put(_JOURNAL + _width(entry.batch), _pack(entry))
        batch.put(_BATCH, _pack(entry.batch))
        self._db.write(batch)
        self.batch += 1

    def checkpoint(
        self, changes: Changes, filled: Iterator[None], offsets: Mapping[Place, int]
    ) -> Iterator[None]:
        """Carries the changes out in the place of the journal as it is now, all or nothing.

        The iterator does it bit by bit; batches may be noted meanwhile, and stay in the journal.
        Rows go into a file beside the store, which takes it in when it is whole.

        Args:
            changes: what has changed up to now, complete when `filled` ends.
            filled: writes the changes down bit by bit.
            offsets: how far the inputs were read.
        """
        return self._write_down(changes, filled, dict(offsets), _JOURNAL + _width(self.batch))

    def _write_down(
        self, changes: Changes, filled: Iterator[None], offsets: dict[Place, int], newest: bytes
    ) -> Iterator[None]:
        yield from filled
        rows: dict[bytes, bytes | None] = dict.fromkeys(map(_key, changes.deletes))
        rows |= {key: None for key, _ in self._under(_JOURNAL) if key <= newest}
        rows |= {_place_key(place): _pack(following) for place, following in offsets.items()}
        while changes.puts:
            row, (value, at_ms) = changes.puts.popitem()
            rows[_key(row)] = _timed(value, at_ms)
            yield
        in_order = sorted(rows)
        yield
        if in_order:
            yield from self._take_in(rows, in_order)

    def _take_in(self, rows: dict[bytes, bytes | None], in_order: list[bytes]) -> Iterator[None]:
        self._beside.unlink(missing_ok=True)
        writer = SstFileWriter(self._made)
        writer.open(str(self._beside))
        for key in in_order:
            value = rows.pop(key)
            if value is None:
                del writer[key]
            else:
                writer[key] = value
            yield
        writer.finish()
        yield
        moved = IngestExternalFileOptions()
        moved.set_move_files(True)
        self._db.ingest_external_file([str(self._beside)], moved)

    def journal(self) -> list[Entry]:
        """The batches since the last checkpoint, oldest first."""
        return [_entry(value) for _, value in self._under(_JOURNAL)]

    def get(self, row: RowKey) -> bytes | None:
        """What the row holds."""
        found = self._db.get(_key(row))
        return None if found is None else bytes(found[8:])

    def rows(self, partition: int, kind: str) -> list[tuple[str, bytes, int]]:
        """(key, value, at_ms) of every row of a kind, by at_ms and then key."""
        head = _key((partition, kind, ""))
        found = [
            (key[len(head) :].decode(), bytes(value[8:]), _time(value))
            for key, value in self._under(head)
        ]
        return sorted(found, key=lambda row: (row[2], row[0]))

    def moments(self, partition: int, kind: str) -> list[tuple[int, str]]:
        """(at_ms, key) of the rows of a kind that have a time, without their values."""
        head = _key((partition, kind, ""))
        found = ((_time(value), key[len(head) :].decode()) for key, value in self._under(head))
        return sorted(each for each in found if each[0] != _NO_TIME)

    def offsets(self) -> dict[Place, int]:
        """The next offset of each input place, as of the last batch or checkpoint."""
        found = {}
        for key, value in self._under(_OFFSET):
            number, _, topic = key[len(_OFFSET) :].decode().partition("/")
            found[topic, int(number)] = _number(value)
        return found

    def outbox(self) -> list[Out]:
        """What the newest batch had to send."""
        found = self._db.get(_OUTBOX)
        return [] if found is None else _outs(found)

    def forget(self, partitions: Iterable[int], topics: Iterable[str]) -> None:
        """Drops everything known of some partitions: their state and their offsets."""
        batch = WriteBatch(raw_mode=True)
        names = list(topics)
        for partition in partitions:
            for key, _ in self._under(_STATE + b"%d/" % partition):
                batch.delete(key)
            for name in names:
                batch.delete(_place_key((name, partition)))
        self._db.write(batch)

    def back_up(self, path: Path) -> None:
        """Copies the whole store, consistent, to another path that does not exist yet."""
        Checkpoint(self._db).create_checkpoint(str(path))

    def close(self) -> None:
        """Closes it; what was written stays."""
        self._db.close()

    def _under(self, head: bytes) -> Iterator[tuple[bytes, bytes]]:
        rows: Iterator[Any] = self._db.items(from_key=head)  # raw mode: bytes alone
        for key, value in rows:
            if not key.startswith(head):
                return
            yield key, value


def begin_from(copy: Path, path: Path) -> None:
    """Puts a store at `path` that is what `back_up` had copied."""
    unfinished = path.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(copy, unfinished)
    unfinished.rename(path)


def _carry_out(batch: WriteBatch, changes: Changes, offsets: dict[Place, int]) -> None:
    for row in changes.deletes:
        batch.delete(_key(row))
    for row, (value, at_ms) in changes.puts.items():
        batch.put(_key(row), _timed(value, at_ms))
    for place, following in offsets.items():
        batch.put(_place_key(place), _pack(following))


def _key(row: RowKey) -> bytes:
    partition, kind, key = row
    return b"state/%d/%s/%s" % (partition, kind.encode(), key.encode())


def _place_key(place: Place) -> bytes:
    topic, number = place
    return b"offset/%d/%s" % (number, topic.encode())


def _width(number: int) -> bytes:
    return b"%020d" % number


def _timed(value: bytes, at_ms: int | None) -> bytes:
    return (_NO_TIME if at_ms is None else at_ms).to_bytes(8, "big", signed=True) + value


def _time(value: bytes) -> int:
    return int.from_bytes(value[:8], "big", signed=True)


def _options() -> Options:
    """Little memory, one background thread: a worker has other things to do."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(3)
    options.set_keep_log_file_num(2)
    options.set_max_open_files(64)
    table = BlockBasedOptions()
    table.set_block_cache(Cache(_CACHE_BYTES))
    table.set_bloom_filter(10, False)
    options.set_block_based_table_factory(table)
    return options
