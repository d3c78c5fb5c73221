"""The rows of one process's state on this machine, in one RocksDB.

A write is atomic and survives a kill of the process. Knows no meaning of its rows.
"""

import logging
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteBatch

from schemas.errors import Unavailable
from serving.memory_rows import MemoryRows, Row, Rows
from serving.rows_over import RowsOver

_WRITE_BUFFER_BYTES = 8_000_000
_CACHE_BYTES = 16_000_000
_BLOCK_BYTES = 16_384
_HELD = ("temporarily unavailable", "lock hold by")
"""How RocksDB says that another process uses the folder."""
PRIVATE = 0o700
"""Who reads the folder reads what shoppers did."""

log = logging.getLogger(__name__)


class StateStore:
    """One process's folder.

    Args:
        path: the folder, made when it is missing; what cannot be read there is removed.

    Raises:
        Unavailable: another process holds the folder, or the disk refuses.
    """

    is_on_disk = True

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(PRIVATE)
            self._db = self._opened()
        except OSError as error:
            raise Unavailable(f"the state at {path}: {error}") from error

    @property
    def free_bytes(self) -> float:
        """What its disk has left."""
        return shutil.disk_usage(self.path).free

    def get(self, key: bytes) -> bytes | None:
        """What a row holds.

        Raises:
            Unavailable: the disk refuses.
        """
        try:
            found: bytes | None = self._db.get(key)
        except Exception as error:  # the binding raises nothing narrower
            raise Unavailable(f"the state at {self.path}: {error}") from error
        return found

    def write(self, rows: Iterable[Row]) -> None:
        """Carries out all or nothing; None removes a row.

        Raises:
            Unavailable: the disk refuses.
        """
        batch = WriteBatch(raw_mode=True)
        for key, value in rows:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        try:
            self._db.write(batch)
        except Exception as error:  # the binding raises nothing narrower
            raise Unavailable(f"the state at {self.path}: {error}") from error

    def under(self, head: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Rows whose keys begin with `head`, by key, from `head + start` on; raises as `get`."""
        rows: Iterator[Any] = self._db.items(from_key=head + start)
        try:
            for key, value in rows:
                if not key.startswith(head):
                    return
                yield key, value
        except Exception as error:  # the binding raises nothing narrower
            raise Unavailable(f"the state at {self.path}: {error}") from error

    def clear(self) -> None:
        """Removes every row; raises as `get`, or OSError."""
        self.close()
        shutil.rmtree(self.path)
        self.path.mkdir(PRIVATE)
        self._db = self._opened()

    def close(self) -> None:
        """Closes it; what was written stays; raises as `get`."""
        try:
            self._db.close()
        except Exception as error:  # the binding raises nothing narrower
            raise Unavailable(f"the state at {self.path}: {error}") from error

    def _opened(self) -> Rdict:
        try:
            return Rdict(str(self.path), _options())
        except Exception as error:  # the binding raises nothing narrower
            if "Corruption" not in str(error):
                raise Unavailable(f"the state at {self.path}: {error}") from error
            log.warning("left the state at %s aside: %s", self.path, error)
        shutil.rmtree(self.path)
        self.path.mkdir(PRIVATE)
        return Rdict(str(self.path), _options())


def state_of(home: Path, process: str) -> Rows:
    """The store of a process under home, in memory where the disk refuses, now or later.

    The file that earlier releases kept instead is removed: nobody reads that any more, nor takes
    out of it who wants to be forgotten.

    Raises:
        Unavailable: another process holds the folder.
    """
    folder = home / "serving" / process
    former = folder.with_name(f"{process}.snapshot")
    try:
        former.unlink(missing_ok=True)
        return RowsOver(StateStore(folder / "state"))
    except (Unavailable, OSError) as error:
        if any(text in str(error) for text in _HELD):
            raise
        log.error("the state is kept in memory alone until the next start: %s", error)
        return MemoryRows(folder / "state")


class StoreShelf:
    """The rows under one head, by name."""

    def __init__(self, store: Rows, head: bytes) -> None:
        self._store = store
        self.head = head

    def get(self, name: str) -> bytes | None:
        """What the name's row holds."""
        return self._store.get(self.key(name))

    def names(self) -> Iterator[str]:
        """The names of all rows, in order."""
        return (name for name, _ in self.items())

    def items(self, start: str = "") -> Iterator[tuple[str, bytes]]:
        """Names with what their rows hold, in order, from the first that is not below `start`."""
        for key, value in self._store.under(self.head, start.encode()):
            yield key[len(self.head) :].decode(), value

    def key(self, name: str) -> bytes:
        """The key of a name's row."""
        return self.head + name.encode()


def _options() -> Options:
    """Little memory of its own; what is read often, the system's page cache keeps."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(3)
    options.set_max_background_jobs(2)
    options.set_keep_log_file_num(2)
    options.set_max_open_files(64)
    options.set_compression_type(DBCompressionType.lz4())
    table = BlockBasedOptions()
    table.set_block_size(_BLOCK_BYTES)
    table.set_block_cache(Cache(_CACHE_BYTES))
    table.set_bloom_filter(10, False)
    options.set_block_based_table_factory(table)
    return options
