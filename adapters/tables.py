"""The tables of the database: one per topic, and those that account for every other record.

`events` holds the topic `events.valid`; `dead_letters` every refused record with its bytes;
`watermarks` the barriers of any topic; `quarantine` what did not decode; `_progress` how far the
sink has come. A row names the record it came from: `_topic`, `_topic_id`, `_partition`, `_offset`.
Knows no client.
"""

from __future__ import annotations

import msgspec

from adapters.tables_columns import Column, columns_of
from schemas import topics
from schemas.topics import Topic

PROGRESS = "_progress"
SCHEMA = "_schema"

# Internal topics: `events` holds what `events.valid` and its dead letters say again, `slots` what
# `predictions` and `outcomes` say, `progress` is heartbeats.
NOT_SUNK = frozenset({topics.EVENTS.name, topics.SLOTS.name, topics.PROGRESS.name})
SUNK: tuple[Topic, ...] = tuple(each for each in topics.ALL if each.name not in NOT_SUNK)

ORIGIN = (
    Column("_topic", "LowCardinality(String)", ("_topic",)),
    Column("_topic_id", "LowCardinality(String)", ("_topic_id",)),
    Column("_partition", "Int32", ("_partition",)),
    Column("_offset", "Int64", ("_offset",)),
)
_BY_ORIGIN = ("_topic", "_partition", "_offset")


# When ClickHouse took the row, by its own clock: rows are kept by it, never by event time, or a
# replay of old events would be dropped as it is stored. `SELECT *` and inserts leave it out.
STORED_AT = "`_stored_at` DateTime('UTC') MATERIALIZED now('UTC')"

# Without it a table that has a projection refuses DELETE.
REBUILT = "lightweight_mutation_projection_mode = 'rebuild'"


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One table: its own columns (the origin columns follow them) and its order.

    Rows are dropped `days` after they were stored, None for never. `sought` columns are ids that
    rows are looked up by and that the order does not help with. `counted` is a projection, kept
    with each part and as exact as its rows: how many there are, by something coarser.
    """

    name: str
    columns: tuple[Column, ...]
    order_by: tuple[str, ...]
    days: int | None = None
    sought: tuple[str, ...] = ()
    counted: str | None = None

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """The columns that are inserted, in order."""
        return (*self.columns, *ORIGIN)

    def ddl(self) -> str:
        """CREATE TABLE IF NOT EXISTS of this table.

        Without PARTITION BY one insert is one part, stored whole or not at all: the sink's resume
        rests on that.
        """
        aliases = (column.alias_ddl() for column in self.columns)
        lines = [
            *(column.ddl() for column in self.all_columns),
            STORED_AT,
            *(alias for alias in aliases if alias is not None),
            "INDEX by_offset _offset TYPE minmax GRANULARITY 1",
            *(f"INDEX {index}" for index in self.lookups()),
            *([] if self.counted is None else [f"PROJECTION {self.counted}"]),
        ]
        body = ",\n    ".join(lines)
        kept = "" if self.days is None else f"TTL {self.kept()}\n"
        rebuilt = "" if self.counted is None else f", {REBUILT}"
        return (
            f"CREATE TABLE IF NOT EXISTS `{self.name}` (\n    {body}\n)\n"
            f"ENGINE = MergeTree ORDER BY ({', '.join(self.order_by)})\n"
            f"{kept}SETTINGS non_replicated_deduplication_window = 1000{rebuilt}"
        )

    def kept(self) -> str:
        """The moment a row may be dropped, as TTL wants it."""
        return f"_stored_at + INTERVAL {self.days} DAY"

    def lookups(self) -> tuple[str, ...]:
        """An index for each id that rows are sought by, as ADD INDEX wants it."""
        return tuple(
            f"by_{name} {name} TYPE bloom_filter(0.01) GRANULARITY 1" for name in self.sought
        )


def _text(name: str) -> Column:
    return Column(name, "String", (name,))


def _word(name: str) -> Column:
    return Column(name, "LowCardinality(String)", (name,))


_RECORDED = Column("recorded_at_ms", "Int64", ("recorded_at_ms",), is_time=True)
DEAD_LETTERS = Table(
    name="dead_letters",
    columns=(
        _word("topic"),
        _word("reason"),
        _text("message"),
        _text("origin"),
        _text("key"),
        _text("value"),
        _RECORDED,
    ),
    order_by=_BY_ORIGIN,
    days=topics.FACT_DAYS,
)
QUARANTINE = Table(
    name="quarantine",
    columns=(_word("reason"), _text("message"), _text("key"), _text("value"), _RECORDED),
    order_by=_BY_ORIGIN,
    days=topics.FACT_DAYS,
)
_WATERMARK_COLUMNS = (
    Column("event_time_ms", "Int64", ("event_time_ms",), is_time=True),
    Column("barrier", "Int64", ("barrier",)),
    _text("run_id"),
    Column("final", "Bool", ("final",)),
)
WATERMARKS = Table(
    name="watermarks", columns=_WATERMARK_COLUMNS, order_by=_BY_ORIGIN, days=topics.FACT_DAYS
)

_ORDER: dict[str, tuple[str, ...]] = {
    "events.valid": ("event_name", "event_time_ms", "visitor_id"),
    "identities": ("visitor_id", "event_time_ms"),
    "items": ("item_id", "updated_at_ms"),
    "requests": ("visitor_id", "request_id"),
    "predictions": ("surface", "policy", "served_at_ms", "visitor_id"),
    "outcomes": ("surface", "policy", "age", "served_at_ms", "visitor_id"),
    "metrics": ("name", "surface", "policy", "age", "window_start_ms"),
    "drift": ("task", "event_time_ms"),
    "retrain": ("task", "event_time_ms"),
    "models": ("task", "sequence"),
    "model_log": ("task", "event_time_ms"),
    "commands": ("task", "event_time_ms"),
    "weights": ("task", "surface", "role", "event_time_ms"),
    "alerts": ("alert_id", "event_time_ms"),
    "erasures": ("visitor_id", "requested_at_ms"),
    "resent": ("letter", "sent_at_ms"),
    "audit": ("event_time_ms", "actor"),
}
_SOUGHT: dict[str, tuple[str, ...]] = {
    "events.valid": ("visitor_id", "event_id", "prediction_id"),
    "predictions": ("visitor_id", "request_id", "prediction_id"),
    "outcomes": ("visitor_id", "request_id", "prediction_id"),
}
_DAY = "toDate(fromUnixTimestamp64Milli(event_time_ms, 'UTC'))"
_COUNTED = {
    "events.valid": f"by_day (SELECT event_name, {_DAY}, count() GROUP BY event_name, {_DAY})",
}


def _of_topic(topic: Topic) -> Table:
    name = "events" if topic.name == topics.EVENTS_VALID.name else topic.name
    return Table(
        name=name,
        columns=columns_of(topic.record),
        order_by=_ORDER[topic.name],
        days=topic.rows_days,
        sought=_SOUGHT.get(topic.name, ()),
        counted=_COUNTED.get(topic.name),
    )


OF_TOPIC: dict[str, Table] = {
    each.name: DEAD_LETTERS if each.refused_from else _of_topic(each) for each in SUNK
}
TABLES: tuple[Table, ...] = tuple(
    {
        table.name: table for table in (*OF_TOPIC.values(), DEAD_LETTERS, WATERMARKS, QUARANTINE)
    }.values()
)

PROGRESS_DDL = f"""CREATE TABLE IF NOT EXISTS `{PROGRESS}` (
    `_topic` LowCardinality(String),
    `_topic_id` LowCardinality(String),
    `_partition` Int32,
    `next_offset` Int64,
    `written_at_ms` Int64,
    `written_at` ALIAS fromUnixTimestamp64Milli(`written_at_ms`, 'UTC')
)
ENGINE = ReplacingMergeTree(next_offset) ORDER BY (_topic, _topic_id, _partition)
SETTINGS non_replicated_deduplication_window = 1000"""
SCHEMA_DDL = f"""CREATE TABLE IF NOT EXISTS `{SCHEMA}` (
    `version` UInt32,
    `what` String,
    `applied_at` DateTime('UTC') DEFAULT now('UTC')
)
ENGINE = MergeTree ORDER BY version"""
