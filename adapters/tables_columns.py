"""The ClickHouse columns of a record type, read off its msgspec fields. Pure.

A list of structs becomes parallel arrays with dotted names (`slots.item_id`), so that
`ARRAY JOIN slots` works; a struct inside a struct is flattened with an underscore
(`context_history`). A field that a member of a union lacks is Nullable, or empty when it is a list.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect

from schemas.events import EventWatermark
from schemas.watermarks import Watermark

# Texts with few distinct values: stored as dictionaries, ten times smaller and faster to filter.
_FEW_VALUES = frozenset(
    {
        "arm",
        "canary",
        "category",
        "challenger",
        "champion",
        "control",
        "currency",
        "degraded",
        "detector",
        "feature_schema",
        "kind",
        "language",
        "model_version",
        "name",
        "parent_version",
        "policy",
        "previous",
        "process",
        "role",
        "served_by",
        "severity",
        "source",
        "surface",
        "task",
        "version",
        "weights_version",
    }
)
_SINGLE_PRECISION = frozenset({"features", "score", "propensity"})
_LATEST_MS = 4_102_444_800_000
WATERMARKS = (EventWatermark, Watermark)


class Column(msgspec.Struct, frozen=True):
    """One column: its name and type in ClickHouse, and where its value is in the record.

    `path` are attribute names from the record inwards. When `nested`, all but the last lead to a
    list of structs and the column is an array of their last attribute. `sparse` columns have no
    value where a step of the path is missing or None; the `tag` column is the struct's tag.
    """

    name: str
    type: str
    path: tuple[str, ...]
    nested: bool = False
    is_time: bool = False
    sparse: bool = False
    tag: bool = False

    def ddl(self) -> str:
        """The column as CREATE TABLE wants it."""
        return f"`{self.name}` {self.type}"

    def alias_ddl(self) -> str | None:
        """The readable time beside a column of epoch milliseconds, none for other columns."""
        if not self.is_time:
            return None
        short = self.name.removesuffix("_ms")
        time = "DateTime64(3, 'UTC')"
        kind = f"Nullable({time})" if self.type.startswith("Nullable") else time
        return f"`{short}` {kind} ALIAS fromUnixTimestamp64Milli(`{self.name}`, 'UTC')"


def columns_of(record: Any) -> tuple[Column, ...]:
    """The columns of a struct or of a union of structs, its watermarks left out.

    >>> from schemas.models import Erasure
    >>> [column.ddl() for column in columns_of(Erasure)][:2]
    ['`visitor_id` String', '`requested_at_ms` Int64']
    """
    info = inspect.type_info(record)
    members = [info] if isinstance(info, inspect.StructType) else list(_structs(info))
    members = [member for member in members if member.cls not in WATERMARKS]
    found: dict[str, Column] = {}
    if len(members) > 1:
        tag_field = str(members[0].tag_field)
        found[tag_field] = Column(tag_field, "LowCardinality(String)", (tag_field,), tag=True)
    counts: dict[str, int] = {}
    for member in members:
        for column in _fields(member, ()):
            counts[column.name] = counts.get(column.name, 0) + 1
            found.setdefault(column.name, column)
    return tuple(
        column if counts.get(name, len(members)) == len(members) else _sparse(column)
        for name, column in found.items()
    )


def _structs(info: Any) -> Iterator[inspect.StructType]:
    for member in info.types:
        if isinstance(member, inspect.StructType):
            yield member


def _fields(struct: inspect.StructType, path: tuple[str, ...]) -> Iterator[Column]:
    for field in struct.fields:
        inner, optional = _without_none(field.type)
        here = (*path, field.name)
        if isinstance(inner, inspect.StructType):
            for column in _fields(inner, here):
                yield _sparse(column) if optional else column
        elif isinstance(inner, inspect.ListType) and isinstance(
            inner.item_type, inspect.StructType
        ):
            yield from _nested(inner.item_type, here)
        else:
            kind = _type(inner, field.name)
            column = Column("_".join(here), kind, here, is_time=_is_time(inner, field.name))
            yield _optional(column) if optional else column


def _nested(struct: inspect.StructType, path: tuple[str, ...]) -> Iterator[Column]:
    for field in struct.fields:
        inner, optional = _without_none(field.type)
        kind = _type(inner, field.name)
        kind = nullable(kind) if optional else kind
        name = f"{'_'.join(path)}.{field.name}"
        yield Column(name, f"Array({kind})", (*path, field.name), nested=True)


def _without_none(info: Any) -> tuple[Any, bool]:
    if not isinstance(info, inspect.UnionType):
        return info, False
    rest = [each for each in info.types if not isinstance(each, inspect.NoneType)]
    if len(rest) != 1 or len(rest) == len(info.types):
        raise TypeError(f"no column type for {info}")
    return rest[0], True


def _type(info: Any, field: str) -> str:
    match info:
        case inspect.LiteralType():
            return "LowCardinality(String)"
        case inspect.StrType():
            return "LowCardinality(String)" if field in _FEW_VALUES else "String"
        case inspect.IntType():
            return "Int64"
        case inspect.FloatType():
            return "Float32" if field in _SINGLE_PRECISION else "Float64"
        case inspect.BoolType():
            return "Bool"
        case inspect.ListType():
            return f"Array({_type(info.item_type, field)})"
        case inspect.DictType():
            return f"Map({_type(info.key_type, '')}, {_type(info.value_type, '')})"
    raise TypeError(f"no column type for {info}")


def _optional(column: Column) -> Column:
    return msgspec.structs.replace(column, type=nullable(column.type))


def _sparse(column: Column) -> Column:
    return msgspec.structs.replace(_optional(column), sparse=True)


def nullable(kind: str) -> str:
    """The type that also holds NULL, where ClickHouse has one."""
    if kind.startswith(("Array", "Map", "Nullable", "LowCardinality(Nullable")):
        return kind
    if kind.startswith("LowCardinality("):
        return f"LowCardinality(Nullable({kind[len('LowCardinality(') : -1]}))"
    return f"Nullable({kind})"


def _is_time(info: Any, field: str) -> bool:
    return isinstance(info, inspect.IntType) and field.endswith("_ms") and info.le == _LATEST_MS
