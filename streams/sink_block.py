"""What the sink holds between two inserts: the rows of each table, and what could not be a row.

A block is the rows of one table, from all partitions, each with the record it came from. Knows no
Kafka and no ClickHouse client.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa

from adapters.tables import ORIGIN, QUARANTINE, Table
from streams.sink_arrow import arrow_batch, column_array, stream_of

_UNSTORABLE = (OverflowError, UnicodeError, TypeError, ValueError, pa.ArrowException)


class Origin(NamedTuple):
    """Where a record came from; `topic` is the full Kafka name."""

    topic: str
    topic_id: str
    partition: int
    offset: int


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `dead_letters`; `topic` is the bare name of the topic that refused the record."""

    topic: str
    reason: str
    message: str
    origin: str
    key: bytes
    value: bytes
    recorded_at_ms: int


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `quarantine`: a record that is no row of its table, with its bytes and why."""

    reason: str
    message: str
    key: bytes
    value: bytes
    recorded_at_ms: int


class Row(NamedTuple):
    """A record on its way into a table, with the bytes to quarantine if it does not fit."""

    record: Any
    origin: Origin
    key: bytes
    value: bytes
    recorded_at_ms: int


class Block:
    """The rows of one table since the last insert."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.rows: list[Row] = []

    def names(self) -> list[str]:
        """The columns of the insert, in order."""
        return [column.name for column in self.table.all_columns]

    def token(self) -> str:
        """The same for the same rows: ClickHouse stores an insert with a known token once."""
        digest = hashlib.sha256(self.table.name.encode())
        for row in self.rows:
            digest.update(b"%s/%s/%d/%d;" % _encoded(row.origin))
        return digest.hexdigest()

    def stream(self) -> bytes:
        """The rows as one Arrow stream; raises when a row does not fit its columns."""
        arrays = arrow_batch(self.table.columns, [row.record for row in self.rows])
        places = zip(*(row.origin for row in self.rows), strict=True)
        for column, values in zip(ORIGIN, places, strict=True):
            arrays.append(column_array(column.type, values))
        return stream_of(self.names(), arrays)

    def sift(self) -> tuple[bytes, list[Row]]:
        """The stream of the rows that fit, and the rows that do not, which leave the block.

        The stream is empty when no row is left.
        """
        try:
            return self.stream(), []
        except _UNSTORABLE:
            unfit = [row for row in self.rows if not self._fits(row)]
            if not unfit:
                raise
        dropped = {row.origin for row in unfit}
        self.rows = [row for row in self.rows if row.origin not in dropped]
        return (self.stream() if self.rows else b""), unfit

    def _fits(self, row: Row) -> bool:
        try:
            arrow_batch(self.table.columns, [row.record])
        except _UNSTORABLE:
            return False
        return True


def _encoded(origin: Origin) -> tuple[bytes, bytes, int, int]:
    return origin.topic.encode(), origin.topic_id.encode(), origin.partition, origin.offset


def quarantined(row: Row, reason: str, message: str) -> Row:
    """The row of `quarantine` for a record that is no row of its own table."""
    record = Quarantined(
        reason=reason,
        message=message,
        key=row.key,
        value=row.value,
        recorded_at_ms=row.recorded_at_ms,
    )
    return row._replace(record=record)


class Batch:
    """The blocks of all tables since the last flush, and how many rows and bytes they hold.

    Args:
        stored: the newest offset that a table already holds, by (table, topic, partition); rows
            up to it are left out.
    """

    def __init__(self, stored: Mapping[tuple[str, str, int], int]) -> None:
        self._stored = stored
        self.blocks: dict[str, Block] = {}
        self.rows = 0
        self.size_bytes = 0

    def add(self, table: Table, row: Row) -> None:
        """Put a row into its table's block, unless the table holds it already."""
        origin = row.origin
        if origin.offset <= self._stored.get((table.name, origin.topic, origin.partition), -1):
            return
        block = self.blocks.get(table.name)
        if block is None:
            block = self.blocks[table.name] = Block(table)
        block.rows.append(row)
        self.rows += 1
        self.size_bytes += len(row.value)

    def drop_topics(self, topics: frozenset[str]) -> None:
        """Forget the rows of these topics (full names)."""
        for block in self.blocks.values():
            block.rows = [row for row in block.rows if row.origin.topic not in topics]

    def streams(self) -> list[tuple[Block, bytes]]:
        """Each block with its stream, `quarantine` first, empty blocks left out.

        Quarantine goes first, so that a record which did not fit its table is never taken for
        stored when the sink ends between two inserts: its table's newest offset may be beyond it.
        """
        ready = []
        for block in [each for each in self.blocks.values() if each.table is not QUARANTINE]:
            if not block.rows:
                continue
            stream, unfit = block.sift()
            for row in unfit:
                message = f"does not fit the columns of table {block.table.name}"
                self.add(QUARANTINE, quarantined(row, "unstorable", message))
            if stream:
                ready.append((block, stream))
        held = self.blocks.get(QUARANTINE.name)
        if held is not None and held.rows:
            held.rows.sort(key=lambda row: row.origin)
            ready.insert(0, (held, held.stream()))
        return ready
