"""A database made by the first version comes to this one with every row; rows are kept and dropped
by when they were stored."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from record_samples import RECORDS, prediction
from sink_factory import running_sink, send, settings_of, stored, wait_stored, wait_until

from adapters.clickhouse import ClickHouse, connected
from adapters.kafka import ensure_topics
from adapters.tables import OF_TOPIC, SUNK, TABLES
from adapters.tables_migrate import migrate
from adapters.tables_progress import sunk_offsets
from adapters.tables_steps import STEPS
from console.query import saved_query
from schemas import topics
from schemas.codec import encode
from schemas.topics import DAY_MS
from streams.sink_block import Batch, Piece, Source
from streams.sink_store import Store

# The statements of the first version as it made its tables; never to be changed.
FIRST = (Path(__file__).parent / "tables_version_1.sql").read_text()
VERSIONS = [step.version for step in STEPS]


def make_first_version(client: ClickHouse) -> None:
    """The tables of version 1, with a row in every table that a topic has samples for."""
    for statement in FIRST.split(";\n"):
        if statement.strip():
            client.command(statement)
    client.command("INSERT INTO _schema (version) VALUES (1)")
    client.command(
        "INSERT INTO predictions (prediction_id, visitor_id, served_at_ms, `slots.item_id`, "
        "_topic, _topic_id, _partition, _offset) SELECT toString(number), 'v', 1300000000000, "
        "['a', 'b'], 'shoploop.predictions.v1', 'id', 0, number FROM numbers(500)"
    )
    client.command(
        "INSERT INTO _progress (_topic, _topic_id, _partition, next_offset) "
        "VALUES ('shoploop.predictions.v1', 'id', 0, 500)"
    )


def shape(client: ClickHouse) -> list[tuple[object, ...]]:
    """Every column, index and rule of keeping of every table."""
    named = {"database": client.database}
    return [
        *client.query_rows(
            "SELECT table, name, type, default_kind, default_expression FROM system.columns "
            "WHERE database = {database:String} ORDER BY ALL",
            named,
        ),
        *client.query_rows(
            "SELECT table, name, expr, type FROM system.data_skipping_indices "
            "WHERE database = {database:String} ORDER BY ALL",
            named,
        ),
        *client.query_rows(
            "SELECT table, name, type, query FROM system.projections "
            "WHERE database = {database:String} ORDER BY ALL",
            named,
        ),
        *client.query_rows(
            "SELECT name, sorting_key, extract(engine_full, 'TTL .*? SETTINGS') "
            "FROM system.tables WHERE database = {database:String} ORDER BY ALL",
            named,
        ),
    ]


def test_a_first_version_comes_to_this_one_with_every_row(
    unique_database: str, clickhouse_dsn: str
) -> None:
    with connected(unique_database) as client:
        make_first_version(client)
        old = client.query_rows("SELECT prediction_id, slots.item_id FROM predictions ORDER BY 1")
        migrate(client)
        rows = client.query_rows("SELECT prediction_id, slots.item_id FROM predictions ORDER BY 1")
        assert rows == old
        assert len(rows) == 500
        assert sunk_offsets(client) == {"shoploop.predictions.v1/0": 500}
        after = shape(client)
        steps = client.query_rows("SELECT version, what FROM _schema ORDER BY version")
        assert [version for version, _ in steps] == VERSIONS
        piece = Piece(
            Source("shoploop.predictions.v1", "id", 0), [prediction()], np.array([500]), ()
        )
        batch = Batch({})
        batch.add(OF_TOPIC["predictions"], piece)
        Store(client).write(batch.filled())
        client.command("OPTIMIZE TABLE predictions FINAL")
        counted = client.query_rows("SELECT count(), uniqExact(_offset) FROM predictions")
        assert counted == [(501, 501)]
    fresh = f"{unique_database}_fresh"
    with connected(fresh) as client:
        migrate(client)
        assert shape(client) == after
        made = client.query_rows("SELECT version FROM _schema ORDER BY version")
        client.command(f"DROP DATABASE {client.database}", in_database=False)
    assert [version for (version,) in made] == VERSIONS


def test_two_processes_may_take_the_steps_at_once_and_again(unique_database: str) -> None:
    with connected(unique_database) as client:
        make_first_version(client)

    def run(_number: int) -> None:
        with connected(unique_database) as own:
            migrate(own)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(8)))
    with connected(unique_database) as client:
        versions = client.query_rows("SELECT DISTINCT version FROM _schema ORDER BY version")
        assert [version for (version,) in versions] == VERSIONS
        assert client.query_rows("SELECT count() FROM predictions") == [(500,)]


def test_a_process_that_ended_between_two_steps_is_gone_on_from(unique_database: str) -> None:
    with connected(unique_database) as client:
        make_first_version(client)
        table = OF_TOPIC["events.valid"]
        for statement in STEPS[1].statements(table):  # not recorded
            client.command(statement)
        migrate(client)
        after = shape(client)
        migrate(client)
        assert shape(client) == after


def test_rows_are_kept_longer_than_records_and_for_ever_where_only_the_newest_is() -> None:
    for topic in SUNK:
        if topic.rows_days is not None:
            assert topic.retention_ms is not None
            assert topic.rows_days * DAY_MS > topic.retention_ms
    for table in TABLES:
        assert ("TTL _stored_at" in table.ddl()) == (table.days is not None)


def test_old_events_stay_and_a_sink_never_goes_back_for_rows_that_were_dropped(
    kafka_address: str, unique_database: str, unique_prefix: str
) -> None:
    settings = settings_of(kafka_address, unique_database, unique_prefix)
    ensure_topics(settings)
    values: list[bytes | None] = [encode(each) for each in RECORDS[topics.METRICS]]
    count = len(values)
    with connected(unique_database) as client:
        migrate(client)
        send(settings, topics.METRICS, values)
        with running_sink(settings):
            wait_stored(settings, {topics.METRICS: count})
        # Their event time is 2011: none is dropped by it.
        client.command("OPTIMIZE TABLE metrics FINAL")
        assert stored(client, settings, topics.METRICS) == (count, count)
        client.command("ALTER TABLE metrics MODIFY TTL _stored_at + INTERVAL 1 SECOND")
        time.sleep(1.1)
        client.command("OPTIMIZE TABLE metrics FINAL")
        wait_until(
            lambda: stored(client, settings, topics.METRICS) == (0, 0), "rows were not dropped"
        )
        client.command("ALTER TABLE metrics REMOVE TTL")
        send(settings, topics.METRICS, values)
        with running_sink(settings):
            wait_stored(settings, {topics.METRICS: count})
            offsets = client.query_rows("SELECT min(_offset) FROM metrics")
        assert offsets == [(count,)]


@pytest.mark.parametrize("name", ["events.valid", "predictions", "outcomes"])
def test_rows_are_looked_up_by_id_through_an_index(unique_database: str, name: str) -> None:
    table = OF_TOPIC[name]
    with connected(unique_database) as client:
        migrate(client)
        client.command(
            f"INSERT INTO {table.name} (visitor_id, prediction_id, _offset) "
            "SELECT toString(number), toString(number), number FROM numbers(100000)"
        )
        for column in ("visitor_id", "prediction_id"):
            query = f"SELECT count() FROM {table.name} WHERE {column} = '777'"
            assert client.query_rows(query) == [(1,)]
            said = " ".join(row[0] for row in client.query_rows(f"EXPLAIN indexes = 1 {query}"))
            assert f"Name: by_{column}" in said


def test_counts_by_day_come_from_the_projection_and_follow_deletions(unique_database: str) -> None:
    query = saved_query("events_daily")
    with connected(unique_database) as client:
        migrate(client)
        client.command(
            "INSERT INTO events (event_name, event_id, event_time_ms) SELECT 'purchase', "
            "toString(number), 1300000000000 + number * 1000 FROM numbers(100000)"
        )
        said = " ".join(row[0] for row in client.query_rows(f"EXPLAIN {query}"))
        assert "by_day" in said
        plain = f"{query} SETTINGS optimize_use_projections = 0"
        counts = client.query_rows(query)
        assert counts == client.query_rows(plain)
        assert sum(count for _, _, count in counts) == 100_000
        client.command("DELETE FROM events WHERE event_id < '5'")
        left = client.query_rows(query)
        assert left == client.query_rows(plain)
        assert 0 < sum(count for _, _, count in left) < 100_000
