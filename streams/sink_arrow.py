"""Records as Arrow columns, built column by column from the structs of one block.

Knows column types by their ClickHouse names; knows no table and no client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
import pyarrow as pa

from adapters.tables_columns import Column

_PLAIN = {
    "String": pa.string(),
    "Int32": pa.int32(),
    "Int64": pa.int64(),
    "Float32": pa.float32(),
    "Float64": pa.float64(),
    "Bool": pa.bool_(),
}
_FLOATS = {"Float32": np.float32, "Float64": np.float64}


def arrow_type(kind: str) -> Any:
    """The Arrow type that ClickHouse reads as this type.

    >>> arrow_type("Array(LowCardinality(Nullable(String)))")
    ListType(list<item: string>)
    """
    for wrapper in ("LowCardinality(", "Nullable("):
        if kind.startswith(wrapper):
            return arrow_type(kind[len(wrapper) : -1])
    if kind.startswith("Array("):
        return pa.list_(arrow_type(kind[len("Array(") : -1]))
    if kind.startswith("Map("):
        key, value = kind[len("Map(") : -1].split(", ")
        return pa.map_(arrow_type(key), arrow_type(value))
    return _PLAIN[kind]


def column_array(kind: str, values: Sequence[Any]) -> Any:
    """The values as an Arrow array of a ClickHouse type; bytes are stored as they are.

    Raises:
        OverflowError, UnicodeEncodeError, pyarrow.ArrowException: a value does not fit.
    """
    if kind.startswith("Array("):
        return _lists(kind[len("Array(") : -1], values)
    if kind in _FLOATS:
        return _floats(kind, values, len(values))
    if kind.startswith("Map("):
        return pa.array([list(each.items()) for each in values], arrow_type(kind))
    if values and isinstance(values[0], bytes):
        return pa.array(values, pa.binary())
    return pa.array(values, arrow_type(kind))


def _lists(inner: str, values: Sequence[Sequence[Any]]) -> Any:
    starts, flat = _starts(values), chain.from_iterable(values)
    if inner in _FLOATS:
        return _split(starts, _floats(inner, flat, starts[-1].as_py()))
    return _split(starts, column_array(inner, list(flat)))


def _floats(kind: str, values: Iterable[float], count: int) -> Any:
    with np.errstate(over="ignore"):
        return pa.array(np.fromiter(values, _FLOATS[kind], count))


def _starts(values: Sequence[Sequence[Any]]) -> Any:
    starts = np.zeros(len(values) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, values), np.int32, len(values)), out=starts[1:])
    return pa.array(starts)


def _split(starts: Any, flat: Any) -> Any:
    return pa.ListArray.from_arrays(starts, flat)


def arrow_batch(columns: Sequence[Column], records: Sequence[Any]) -> list[Any]:
    """One Arrow array per column, each as long as `records`; raises as `column_array`."""
    groups: dict[tuple[str, ...], tuple[Any, list[Any]]] = {}
    arrays = []
    for column in columns:
        if not column.nested:
            arrays.append(column_array(column.type, _values(column, records)))
            continue
        group = column.path[:-1]
        if group not in groups:
            lists = [each or () for each in map(_getter(column, group), records)]
            groups[group] = _starts(lists), list(chain.from_iterable(lists))
        starts, flat = groups[group]
        inner = column.type[len("Array(") : -1]
        values = list(map(attrgetter(column.path[-1]), flat))
        arrays.append(_split(starts, column_array(inner, values)))
    return arrays


def _values(column: Column, records: Sequence[Any]) -> list[Any]:
    if column.tag:
        return [type(record).__struct_config__.tag for record in records]
    found = list(map(_getter(column, column.path), records))
    if column.sparse and column.type.startswith(("Array", "Map")):
        empty: Any = () if column.type.startswith("Array") else {}
        return [empty if each is None else each for each in found]
    return found


def _getter(column: Column, path: tuple[str, ...]) -> Callable[[Any], Any]:
    if not column.sparse:
        return attrgetter(".".join(path))

    def walk(record: Any) -> Any:
        for step in path:
            record = getattr(record, step, None)
        return record

    return walk


def stream_of(names: Sequence[str], arrays: Sequence[Any]) -> bytes:
    """One record batch as an Arrow IPC stream: ClickHouse makes one block of it."""
    batch = pa.RecordBatch.from_arrays(list(arrays), names=list(names))
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(out.getvalue().to_pybytes())
