"""Records as Arrow columns, built column by column from structs, one struct type at a time.

Knows column types by their ClickHouse names; knows no table and no client.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, groupby
from operator import attrgetter
from typing import Any

import numpy as np
import pyarrow as pa
from msgspec.structs import astuple

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


def joined(parts: Sequence[Any]) -> Any:
    """Arrays of one type, laid end to end."""
    return parts[0] if len(parts) == 1 else pa.concat_arrays(parts)


def arrow_batch(columns: Sequence[Column], records: Sequence[Any]) -> list[Any]:
    """One Arrow array per column, each as long as `records`; raises as `column_array`.

    Cheapest when records of one type stand together.
    """
    runs = [_run(columns, list(run)) for _, run in groupby(records, type)]
    return [joined(parts) for parts in zip(*runs, strict=True)]


def _run(columns: Sequence[Column], records: Sequence[Any]) -> list[Any]:
    """The arrays of records that are all of one struct type."""
    fields = _fields(records)
    lists: dict[tuple[str, ...], tuple[Any, Mapping[str, Sequence[Any]]]] = {}
    arrays = []
    for column in columns:
        if column.tag:
            tag = pa.scalar(type(records[0]).__struct_config__.tag, pa.string())
            arrays.append(pa.repeat(tag, len(records)))
        elif column.path[0] not in fields:
            arrays.append(_absent(column.type, len(records)))
        elif column.nested:
            group = column.path[:-1]
            if group not in lists:
                lists[group] = _inner_fields(_inner(fields, column, group))
            starts, inner = lists[group]
            kind = column.type[len("Array(") : -1]
            values = inner[column.path[-1]] if inner else ()
            arrays.append(_split(starts, column_array(kind, values)))
        else:
            arrays.append(column_array(column.type, _filled(fields, column)))
    return arrays


def _fields(structs: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
    """The values of each field of structs of one type: a third of the cost of asking each."""
    if not structs:
        return {}
    names = structs[0].__struct_fields__
    return dict(zip(names, zip(*map(astuple, structs), strict=True), strict=True))


def _inner_fields(
    lists: Sequence[Sequence[Any] | None],
) -> tuple[Any, Mapping[str, Sequence[Any]]]:
    """Where each list of structs begins, and the fields of all of them, end to end."""
    try:
        filled: Sequence[Any] = lists
        starts = _starts(filled)
    except TypeError:  # a list that is not there
        filled = [each or () for each in lists]
        starts = _starts(filled)
    return starts, _fields(list(chain.from_iterable(filled)))


def _absent(kind: str, count: int) -> Any:
    if kind.startswith("Array("):
        starts = pa.array(np.zeros(count + 1, np.int32))
        return _split(starts, pa.array([], arrow_type(kind[len("Array(") : -1])))
    if kind.startswith("Map("):
        return pa.array([[]] * count, arrow_type(kind))
    return pa.nulls(count, arrow_type(kind))


def _filled(fields: Mapping[str, Sequence[Any]], column: Column) -> Sequence[Any]:
    found = _inner(fields, column, column.path)
    if column.sparse and column.type.startswith(("Array", "Map")):
        empty: Any = () if column.type.startswith("Array") else {}
        return [empty if each is None else each for each in found]
    return found


def _inner(
    fields: Mapping[str, Sequence[Any]], column: Column, path: tuple[str, ...]
) -> Sequence[Any]:
    found, steps = fields[path[0]], path[1:]
    if not steps:
        return found
    try:
        return list(map(attrgetter(".".join(steps)), found))
    except AttributeError:
        if not column.sparse:
            raise
    return [_walked(each, steps) for each in found]


def _walked(value: Any, steps: tuple[str, ...]) -> Any:
    for step in steps:
        value = getattr(value, step, None)
    return value


def stream_of(names: Sequence[str], arrays: Sequence[Any]) -> bytes:
    """One record batch as an Arrow IPC stream: ClickHouse makes one block of it."""
    batch = pa.RecordBatch.from_arrays(list(arrays), names=list(names))
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, batch.schema) as writer:
        writer.write_batch(batch)
    return out.getvalue().to_pybytes()  # type: ignore[no-any-return]
