"""Any shop's history as entries of a replay: JSON Lines (also gzipped) or Parquet.

Records are in our event schema; what is not is sent on as it is, in its place in the file, for
intake to refuse. Files need not be sorted: runs of bounded size are sorted and merged from disk.
"""

from __future__ import annotations

import gzip
import heapq
import struct
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import msgspec

from core.replay_plan import Broken, Entry, Happened, Offered
from schemas.codec import Decoder
from schemas.errors import BadSettings, InvalidEvent
from schemas.events import ShopEvent
from schemas.items import Item

RUN_LINES = 200_000
UNREADABLE = b"unreadable"

# (event time, event id, line number, line): sorts by the first three.
Keyed = tuple[int, str, int, bytes]


class _Head(msgspec.Struct):
    visitor_id: str = ""


_event = Decoder(ShopEvent)
_item = Decoder(Item)
_head = msgspec.json.Decoder(_Head)


def read_events(path: Path, run_lines: int = RUN_LINES) -> Iterator[Entry]:
    """The events of a file by (event time, event id); at most `run_lines` lines in memory.

    Raises:
        BadSettings: the file is missing or of another kind.
    """
    for at_ms, _, _, raw in _sorted(_keyed(_lines(path)), run_lines):
        yield _entry(at_ms, raw)


def read_items(path: Path) -> list[Offered]:
    """The catalogue rows of a file by their time.

    Raises:
        BadSettings: the file is missing, or a line is no item.
    """
    found = []
    for number, raw in enumerate(_lines(path), 1):
        try:
            item = _item(raw)
        except InvalidEvent as error:
            raise BadSettings(f"{path}:{number} is no item: {error}") from error
        found.append(Offered(item.updated_at_ms, item))
    return sorted(found, key=lambda offered: offered.at_ms)


def with_items(entries: Iterable[Entry], items: Iterable[Offered]) -> Iterator[Entry]:
    """Both in event-time order, an item before an event of the same time."""
    return heapq.merge(items, entries, key=lambda entry: entry.at_ms)


def span(path: Path) -> tuple[int, int]:
    """The first and the last event time of a file's readable events.

    Raises:
        BadSettings: there is none, or the file cannot be read.
    """
    first, last = None, 0
    for at_ms, event_id, _, _ in _keyed(_lines(path)):
        if event_id:
            first = at_ms if first is None else min(first, at_ms)
            last = max(last, at_ms)
    if first is None:
        raise BadSettings(f"{path} holds no event of our schema")
    return first, last


def _entry(at_ms: int, raw: bytes) -> Entry:
    try:
        return Happened(at_ms, _event(raw), raw)
    except InvalidEvent:
        return Broken(at_ms, raw, _key_of(raw))


def _key_of(raw: bytes) -> bytes:
    try:
        return _head.decode(raw).visitor_id.encode() or UNREADABLE
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return UNREADABLE


def _keyed(lines: Iterable[bytes]) -> Iterator[Keyed]:
    """A line that is no event takes the place of the event before it."""
    at_ms, event_id = 0, ""
    for number, raw in enumerate(lines):
        try:
            event = _event(raw)
            at_ms, event_id = event.event_time_ms, event.event_id
        except InvalidEvent:
            pass  # sent on as it is: intake counts it
        yield at_ms, event_id, number, raw


def _lines(path: Path) -> Iterator[bytes]:
    name = path.name.lower()
    if not path.is_file():
        raise BadSettings(f"{path} is no file")
    if name.endswith(".parquet"):
        return _parquet_lines(path)
    if name.endswith((".jsonl.gz", ".ndjson.gz", ".jsonl", ".ndjson")):
        return _text_lines(path)
    raise BadSettings(f"{path}: expected .jsonl, .jsonl.gz or .parquet")


def _text_lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb") as file:
        for line in file:
            stripped = line.rstrip(b"\r\n")
            if stripped:
                yield stripped


def _parquet_lines(path: Path) -> Iterator[bytes]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=10_000):
            for row in batch.to_pylist():
                yield msgspec.json.encode(_without_nulls(row))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(part) for name, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_nulls(part) for part in value]
    return value


def _sorted(keyed: Iterator[Keyed], run_lines: int) -> Iterator[Keyed]:
    first = sorted(islice(keyed, run_lines))
    second = list(islice(keyed, run_lines))
    if not second:
        yield from first
        return
    with tempfile.TemporaryDirectory(prefix="shoploop-sort-") as folder:
        runs = [_spilled(first, Path(folder) / "0")]
        run = second
        while run:
            runs.append(_spilled(sorted(run), Path(folder) / str(len(runs))))
            run = list(islice(keyed, run_lines))
        yield from heapq.merge(*map(_read_run, runs))


def _spilled(run: list[Keyed], path: Path) -> Path:
    with path.open("wb") as file:
        for keyed in run:
            packed = msgspec.msgpack.encode(keyed)
            file.write(struct.pack("<I", len(packed)) + packed)
    run.clear()
    return path


_run_decoder = msgspec.msgpack.Decoder(tuple[int, str, int, bytes])


def _read_run(path: Path) -> Iterator[Keyed]:
    with path.open("rb") as file:
        while size := file.read(4):
            yield _run_decoder.decode(_exactly(file, struct.unpack("<I", size)[0]))


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise EOFError("a sorted run on disk is cut short")
    return data


def write_json_lines(entries: Iterable[Entry], events: Path, items: Path) -> dict[str, int]:
    """Writes entries as two JSON Lines files; rows left out by a rule are counted by rule."""
    left_out: dict[str, int] = {}
    with events.open("wb") as event_file, items.open("wb") as item_file:
        for entry in entries:
            match entry:
                case Happened(event=event, raw=raw):
                    event_file.write((raw or msgspec.json.encode(event)) + b"\n")
                case Broken(raw=raw):
                    event_file.write(raw + b"\n")
                case Offered(item=item):
                    item_file.write(msgspec.json.encode(item) + b"\n")
                case _:
                    left_out[entry.rule] = left_out.get(entry.rule, 0) + entry.lines
    return left_out
