"""What the sink holds between two inserts: the rows of each table, and what could not be a row.

A piece is what one read brought of one partition for one table; a block is the rows of one table
from all partitions, turned into columns every few thousand rows, so that few records are alive at
a time. Knows no Kafka and no ClickHouse client.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from adapters.tables import QUARANTINE, Table
from streams.sink_arrow import arrow_batch, joined, stream_of
from streams.sink_refused import quarantined

# Records die young in the processor's cache: columns of 40,000 at once take half as long again.
PACK_ROWS = 4_096
PACK_BYTES = 4_000_000
_UNSTORABLE = (OverflowError, UnicodeError, TypeError, ValueError, pa.ArrowException)


class Source(NamedTuple):
    """A partition of a topic; `topic` is the full Kafka name."""

    topic: str
    topic_id: str
    partition: int


class Piece(NamedTuple):
    """Records of one partition, each with its offset and the message it was decoded from.

    The messages are asked only for the bytes of a record that turns out not to fit.
    """

    source: Source
    records: Sequence[Any]
    offsets: Any
    messages: Sequence[Any]
    size_bytes: int = 0

    def only(self, keep: Any) -> Piece:
        """The records where `keep`, an array of booleans, is true."""
        at = np.flatnonzero(keep).tolist()
        messages = [self.messages[each] for each in at] if self.messages else ()
        records = [self.records[each] for each in at]
        share = len(records) / len(self.records)
        return Piece(self.source, records, self.offsets[at], messages, int(self.size_bytes * share))


class _Rows(NamedTuple):
    """Pieces laid end to end; `codes` number the block's sources."""

    records: Sequence[Any]
    codes: Any
    offsets: Any
    messages: Sequence[Any]

    def part(self, begin: int, end: int) -> _Rows:
        """The rows from `begin` to before `end`."""
        return _Rows(*(each[begin:end] for each in self))

    def by_type(self) -> _Rows:
        """The rows of one struct type after another: they are turned into columns by type."""
        types = list(map(type, self.records))
        numbers = {kind: number for number, kind in enumerate(dict.fromkeys(types))}
        if len(numbers) == 1:
            return self
        kinds = np.fromiter(map(numbers.__getitem__, types), np.intp, len(types))
        order = np.argsort(kinds, kind="stable")
        take = itemgetter(*order.tolist())
        messages = take(self.messages) if self.messages else ()
        return _Rows(take(self.records), self.codes[order], self.offsets[order], messages)


class _Pack(NamedTuple):
    """Rows that have become columns."""

    arrays: Sequence[Any]
    codes: Any
    offsets: Any


class Block:
    """The rows of one table since the last insert."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._codes: dict[Source, int] = {}
        self._pieces: list[Piece] = []
        self._packs: list[_Pack] = []
        self._waiting_rows = self._waiting_bytes = 0

    @property
    def rows(self) -> int:
        """How many rows the block holds."""
        return self._waiting_rows + sum(len(pack.offsets) for pack in self._packs)

    @property
    def wants_packing(self) -> bool:
        """Whether enough records wait to be turned into columns."""
        return self._waiting_rows >= PACK_ROWS or self._waiting_bytes >= PACK_BYTES

    def add(self, piece: Piece) -> None:
        """Put records into the block."""
        self._pieces.append(piece)
        self._waiting_rows += len(piece.records)
        self._waiting_bytes += piece.size_bytes

    def pack(self) -> list[Piece]:
        """Turn waiting records into columns; those that do not fit leave as rows of quarantine."""
        if not self._pieces:
            return []
        rows = self._laid(self._pieces).by_type()
        self._pieces, self._waiting_rows, self._waiting_bytes = [], 0, 0
        unfit = list(self._packed(rows))
        message = f"does not fit the columns of table {self.table.name}"
        return [_quarantined(source, row, message) for source, row in unfit]

    def _laid(self, pieces: Sequence[Piece]) -> _Rows:
        for piece in pieces:
            self._codes.setdefault(piece.source, len(self._codes))
        codes = [self._codes[piece.source] for piece in pieces]
        return _Rows(
            list(chain.from_iterable(piece.records for piece in pieces)),
            np.repeat(np.array(codes, np.int32), [len(piece.records) for piece in pieces]),
            np.concatenate([piece.offsets for piece in pieces]),
            list(chain.from_iterable(piece.messages for piece in pieces)),
        )

    def _packed(self, rows: _Rows) -> Iterable[tuple[Source, _Rows]]:
        """Pack the rows, halving them around those that do not fit, which are handed out."""
        try:
            arrays = arrow_batch(self.table.columns, rows.records)
        except _UNSTORABLE:
            if self.table is QUARANTINE:
                raise
        else:
            self._packs.append(_Pack(arrays, rows.codes, rows.offsets))
            return
        count = len(rows.records)
        if count == 1:
            yield list(self._codes)[rows.codes[0]], rows
            return
        yield from self._packed(rows.part(0, count // 2))
        yield from self._packed(rows.part(count // 2, count))

    def drop_topics(self, topics: frozenset[str]) -> None:
        """Forget the rows of these topics (full names)."""
        self._pieces = [each for each in self._pieces if each.source.topic not in topics]
        self._waiting_rows = sum(len(each.records) for each in self._pieces)
        keep = np.array([source.topic not in topics for source in self._codes], bool)
        packs = [(pack, keep[pack.codes]) for pack in self._packs]
        self._packs = [
            pack
            if kept.all()
            else _Pack([a.filter(pa.array(kept)) for a in pack.arrays], *_cut(pack, kept))
            for pack, kept in packs
            if kept.any()
        ]

    def names(self) -> list[str]:
        """The columns of the insert, in order."""
        return [column.name for column in self.table.all_columns]

    def places(self) -> dict[Source, list[int]]:
        """The offsets of the packed rows by partition, sorted."""
        return {source: offsets.tolist() for source, offsets in self._places()}

    def _places(self) -> Iterable[tuple[Source, Any]]:
        codes, offsets = self._origins()
        for source in sorted(self._codes):
            found = offsets[codes == self._codes[source]]
            if len(found):
                yield source, np.sort(found)

    def _origins(self) -> tuple[Any, Any]:
        codes = np.concatenate([pack.codes for pack in self._packs])
        return codes, np.concatenate([pack.offsets for pack in self._packs])

    def token(self) -> str:
        """The same for the same rows: ClickHouse stores an insert with a known token once."""
        digest = hashlib.sha256(self.table.name.encode())
        for source, offsets in self._places():
            digest.update(f";{source.topic}/{source.topic_id}/{source.partition}/".encode())
            digest.update(offsets.astype("<i8").tobytes())
        return digest.hexdigest()

    def stream(self) -> bytes:
        """The packed rows as one Arrow stream of one batch."""
        arrays = [joined(parts) for parts in zip(*(p.arrays for p in self._packs), strict=True)]
        codes, offsets = self._origins()
        topics, ids, partitions = zip(*self._codes, strict=True)
        arrays += [_words(topics, codes), _words(ids, codes)]
        arrays += [pa.array(np.array(partitions, np.int32)[codes]), pa.array(offsets)]
        return stream_of(self.names(), arrays)


def _words(words: Sequence[str], codes: Any) -> Any:
    """The word of each code, as a dictionary: ClickHouse wants each of its entries once."""
    known = list(dict.fromkeys(words))
    at = np.array([known.index(word) for word in words], np.int32)[codes]
    return pa.DictionaryArray.from_arrays(pa.array(at), pa.array(known))


def _cut(pack: _Pack, kept: Any) -> tuple[Any, Any]:
    return pack.codes[kept], pack.offsets[kept]


def _quarantined(source: Source, row: _Rows, message: str) -> Piece:
    record = quarantined(row.messages[0], "unstorable", message)
    return Piece(source, [record], row.offsets, row.messages, len(record.value))


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

    def add(self, table: Table, piece: Piece) -> None:
        """Put records into their table's block, less those that the table holds already."""
        source = piece.source
        newest = self._stored.get((table.name, source.topic, source.partition), -1)
        if newest >= 0 and piece.offsets.min() <= newest:
            piece = piece.only(piece.offsets > newest)
        if not piece.records:
            return
        block = self.blocks.get(table.name)
        if block is None:
            block = self.blocks[table.name] = Block(table)
        block.add(piece)
        self.rows += len(piece.records)
        self.size_bytes += piece.size_bytes
        if block.wants_packing:
            self._pack(block)

    def _pack(self, block: Block) -> None:
        for unfit in block.pack():
            self.add(QUARANTINE, unfit)

    def drop_topics(self, topics: frozenset[str]) -> None:
        """Forget the rows of these topics (full names)."""
        for block in self.blocks.values():
            block.drop_topics(topics)

    def filled(self) -> list[Block]:
        """The blocks that hold rows, all of them packed, `quarantine` first.

        Quarantine goes first, so that a record which did not fit its table is never taken for
        stored when the sink ends between two inserts: its table's newest offset may be beyond it.
        """
        for block in [each for each in self.blocks.values() if each.table is not QUARANTINE]:
            self._pack(block)
        held = self.blocks.get(QUARANTINE.name)
        if held is not None:
            held.pack()
        found = [block for block in self.blocks.values() if block.rows]
        return sorted(found, key=lambda block: block.table is not QUARANTINE)
