"""The sink against a real broker and a real ClickHouse: what lands where, and as what."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import msgspec
import numpy as np
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from record_samples import RECORDS, prediction
from sink_factory import (
    WITHIN_S,
    readable,
    running_sink,
    send,
    settings_of,
    stored,
    wait_stored,
    wait_until,
)

from adapters.clickhouse import ClickHouse, connected
from adapters.kafka import (
    consumer,
    end_offsets,
    ensure_topics,
    group_name,
    producer,
    topic_name,
)
from adapters.kafka_lag import lag_of
from adapters.tables import OF_TOPIC, SUNK, TABLES
from adapters.tables_migrate import migrate
from adapters.tables_progress import behind, sunk_offsets, wait_sunk
from core.settings import Settings
from local.child import free_ports
from schemas import topics
from schemas.codec import encode, refused_headers
from schemas.errors import BadSettings, InvalidEvent, Unavailable
from streams.sink_block import Batch, Piece, Source
from streams.sink_feed import Feed
from streams.sink_store import Store


@pytest.fixture
def settings(kafka_address: str, unique_database: str, unique_prefix: str) -> Settings:
    made = settings_of(kafka_address, unique_database, unique_prefix)
    ensure_topics(made)
    with connected(made.clickhouse) as client:
        migrate(client)
    return made


def test_every_sunk_topic_lands_in_its_table(settings: Settings) -> None:
    for topic, records in RECORDS.items():
        send(settings, topic, [encode(record) for record in records])
    refused = InvalidEvent("malformed", "not JSON")
    send(
        settings,
        topics.BY_NAME["events.dlq"],
        [b"\xff{"],
        headers=refused_headers(refused, "shoploop.events.v1[0]@7"),
    )
    wanted = {topic: len(records) for topic, records in RECORDS.items()}
    wanted[topics.BY_NAME["events.dlq"]] = 1
    with running_sink(settings):
        wait_stored(settings, wanted)
    assert {topic.name for topic in SUNK if not topic.refused_from} == {t.name for t in RECORDS}
    with connected(settings.clickhouse) as client:
        for topic, records in RECORDS.items():
            rows = client.query_rows(f"SELECT count() FROM {OF_TOPIC[topic.name].name}")
            marks = sum("watermark" in type(each).__name__.lower() for each in records)
            assert rows == [(len(records) - marks,)]
        letters = client.query_rows(
            "SELECT topic, reason, message, origin, hex(value) FROM dead_letters"
        )
        assert letters == [("events", "malformed", "not JSON", "shoploop.events.v1[0]@7", "FF7B")]
        slots = client.query_rows(
            "SELECT slots.item_id, slots.features, considered.item_id, context_history "
            "FROM predictions WHERE prediction_id = 'p1'"
        )
        row = ["22423", "85123A"], [[0.25, 1.0, -2.0]] * 2, ["71053"], ["a", "b"]
        assert slots == [row]
        sold = "SELECT sum(quantity) FROM events ARRAY JOIN items.quantity AS quantity"
        assert client.query_rows(sold) == [(3,)]


def test_the_sink_says_how_far_it_is(settings: Settings) -> None:
    value = encode(RECORDS[topics.METRICS][0])
    send(settings, topics.METRICS, [value] * 5)
    client = consumer(settings, group_name(settings, "looking"))
    name = topic_name(settings, topics.METRICS)
    client.assign([TopicPartition(name, 0, 0)])
    wait_until(lambda: client.poll(0.1) is not None, "a record")
    assert lag_of(client, {(name, 0): 1}) == 4
    client.close()
    assert lag_of(client, {(name, 0): 1}) == 0
    (port,) = free_ports(1)

    def figures() -> dict[bytes, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as reply:
            lines = [line.split() for line in reply.read().splitlines() if line[:1] != b"#"]
            return {name: float(value) for name, value in lines}

    with running_sink(msgspec.structs.replace(settings, http_port=port)):
        wait_stored(settings, {topics.METRICS: 5})
        wait_until(lambda: figures()[b"shoploop_sink_kafka_lag"] == 0, "no lag")
        found = figures()
    assert found[b"shoploop_sink_ready"] == 1
    assert found[b'shoploop_sink_rows_total{table="metrics"}'] == 5
    assert found[b"shoploop_sink_turn_age_seconds"] < WITHIN_S


def test_a_record_that_cannot_be_a_row_is_quarantined_with_its_bytes(settings: Settings) -> None:
    good = encode(RECORDS[topics.METRICS][0])
    wide = msgspec.json.decode(good)
    wide["n"] = 10**30
    values = [good, b"{", b'{"name":"x"}', encode(wide), None, good, b"\xff\xfe", b"[" * 100_000]
    send(settings, topics.METRICS, values)
    with running_sink(settings):
        wait_stored(settings, {topics.METRICS: len(values)})
    with connected(settings.clickhouse) as client:
        rows = client.query_rows("SELECT _offset, reason, value FROM quarantine ORDER BY _offset")
        assert [(offset, reason) for offset, reason, _ in rows] == [
            (1, "malformed"),
            (2, "invalid"),
            (3, "unstorable"),
            (4, "tombstone"),
            (6, "malformed"),
            (7, "invalid"),
        ]
        assert json.loads(rows[2][2])["n"] == 10**30
        assert client.query_rows("SELECT _offset FROM metrics ORDER BY 1") == [(0,), (5,)]


def test_aborted_records_are_no_rows_and_positions_pass_their_markers(settings: Settings) -> None:
    value = encode(RECORDS[topics.METRICS][0])
    client = producer(settings, transactional_id=settings.topic_prefix + "t")
    client.init_transactions(WITHIN_S)
    for number in range(6):
        client.begin_transaction()
        client.produce(topic_name(settings, topics.METRICS), value)
        client.flush(WITHIN_S)
        (client.abort_transaction if number % 2 else client.commit_transaction)(WITHIN_S)
    end = {f"metrics/{part}": at for part, at in _ends(settings).items()}
    assert end == {"metrics/0": 12}
    with running_sink(settings), connected(settings.clickhouse) as clickhouse:
        wait_sunk(clickhouse, end, settings.topic_prefix, within_s=WITHIN_S)
        assert stored(clickhouse, settings, topics.METRICS) == (3, 3)
        with pytest.raises(Unavailable, match="metrics/0 up to 13"):
            wait_sunk(clickhouse, {"metrics/0": 13}, settings.topic_prefix, within_s=0)
    assert readable(settings, topics.METRICS) == 3


def _ends(settings: Settings) -> dict[int, int]:
    reader = consumer(settings, None)
    found = end_offsets(settings, reader, topics.METRICS)
    reader.close()
    return found


def test_a_topic_made_again_starts_anew(settings: Settings) -> None:
    values = [encode(record) for record in RECORDS[topics.METRICS]] * 5
    send(settings, topics.METRICS, values)
    with running_sink(settings):
        wait_stored(settings, {topics.METRICS: 5})
        _make_again(settings)
        send(settings, topics.METRICS, values[:3])
        wait_stored(settings, {topics.METRICS: 8})
    _make_again(settings)
    send(settings, topics.METRICS, values)
    with running_sink(settings):
        wait_stored(settings, {topics.METRICS: 13})
    with connected(settings.clickhouse) as client:
        assert client.query_rows("SELECT uniqExact(_topic_id) FROM metrics") == [(3,)]
        offsets = {"metrics/0": 5}
        assert behind(sunk_offsets(client), offsets, settings.topic_prefix) == {}


def _make_again(settings: Settings) -> None:
    admin = AdminClient({"bootstrap.servers": settings.kafka, "log_level": 0})
    name = topic_name(settings, topics.METRICS)
    admin.delete_topics([name])[name].result(WITHIN_S)
    wait_until(lambda: name not in admin.list_topics(timeout=60).topics, "topic still there")
    ensure_topics(settings)


class _Failing(ClickHouse):
    """A client that ends the sink at its n-th insert, before or after it was stored."""

    def __init__(self, real: ClickHouse, fail_at: int, *, after: bool) -> None:
        self._real, self._left, self._after = real, fail_at, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def query_rows(self, *arguments: Any, **named: Any) -> Any:
        return self._real.query_rows(*arguments, **named)

    def insert_stream(self, *arguments: Any, **named: Any) -> None:
        self._left -= 1
        if self._left < 0 and not self._after:
            raise Unavailable("killed before the insert")
        self._real.insert_stream(*arguments, **named)
        if self._left < 0:
            raise Unavailable("killed after the insert")


@pytest.mark.parametrize("after", [False, True])
def test_a_sink_that_ends_between_two_tables_loses_and_repeats_nothing(
    settings: Settings, after: bool
) -> None:
    values: list[bytes | None] = []
    for number in range(40):
        values += [encode(prediction(prediction_id=f"p{number}")), b"bad"]
        values.append(encode(RECORDS[topics.PREDICTIONS][2]))
    unfit = msgspec.to_builtins(prediction())
    unfit["slots"][0]["position"] = 10**20
    values.append(encode(unfit))
    send(settings, topics.PREDICTIONS, values)
    with connected(settings.clickhouse) as client:
        migrate(client)
        for fail_at in (0, 1, 2, 3):
            _one_flush(settings, _Failing(client, fail_at, after=after))
        _one_flush(settings, client)
        assert stored(client, settings, topics.PREDICTIONS) == (len(values), len(values))
        counts = client.query_rows(
            "SELECT (SELECT count() FROM predictions), (SELECT count() FROM watermarks), "
            "(SELECT countIf(reason = 'unstorable') FROM quarantine)"
        )
        assert counts == [(40, 40, 1)]


def _one_flush(settings: Settings, client: ClickHouse) -> None:
    store = Store(client)
    feed = Feed(settings, store, lambda: None)
    batch = Batch(store.stored)
    name = topic_name(settings, topics.PREDICTIONS)

    def read_all() -> bool:
        nonlocal batch
        pieces = feed.read()
        if pieces is None:
            batch = Batch(store.stored)
        for table, piece in pieces or ():
            batch.add(table, piece)
        positions = [at for place, at in feed.positions.items() if place[0] == name]
        return sum(positions) >= 121

    wait_until(read_all, "the predictions were not read")
    try:
        store.write(batch.filled())
        store.write_progress(feed.positions)
    except Unavailable:
        pass
    finally:
        feed.close()


def test_the_same_block_sent_twice_is_stored_once(settings: Settings) -> None:
    with connected(settings.clickhouse) as client:
        migrate(client)
        for _ in range(3):
            batch = Batch({})
            piece = Piece(Source("t", "i", 0), [prediction()], np.array([0]), ())
            batch.add(OF_TOPIC["predictions"], piece)
            Store(client).write(batch.filled())
        assert client.query_rows("SELECT count() FROM predictions") == [(1,)]


def test_migration_adds_new_columns_and_refuses_changed_ones(settings: Settings) -> None:
    with connected(settings.clickhouse) as client:
        migrate(client)
        migrate(client)
        client.command("ALTER TABLE outcomes DROP COLUMN basket")
        migrate(client)
        client.command("ALTER TABLE requests MODIFY COLUMN k Int32")
        with pytest.raises(BadSettings, match="column k is Int32, expected Int64"):
            migrate(client)
        there = {row[0] for row in client.query_rows("SHOW TABLES")}
        assert there == {*(table.name for table in TABLES), "_progress", "_schema"}
        client.command("INSERT INTO _schema (version) VALUES (99)")
        with pytest.raises(BadSettings, match="version 99"):
            migrate(client)
