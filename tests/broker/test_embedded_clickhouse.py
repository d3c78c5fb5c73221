"""The embedded endpoint, asked by the ordinary ClickHouse HTTP client."""

from __future__ import annotations

import os
import signal
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import clickhouse_connect
import pandas as pd
import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from local.child import free_ports
from local.clickhouse import EmbeddedClickHouse
from schemas.errors import BadSettings, Unavailable

DEADLINE_S = 120
TABLE = (
    "CREATE TABLE t (a UInt64, b String, at DateTime64(3, 'UTC')) ENGINE = MergeTree ORDER BY a "
    "SETTINGS non_replicated_deduplication_window = 100"
)
AT = datetime(2011, 12, 9, 12, 50, 0, 123000, tzinfo=UTC)


@pytest.fixture(params=[False, "lz4", "zstd", "gzip"])
def client(request: pytest.FixtureRequest, unique_database: str) -> Iterator[Any]:
    made = clickhouse_connect.get_client(dsn=unique_database, compress=request.param)
    made.command(TABLE)
    with made:
        yield made


@pytest.fixture
def plain(unique_database: str) -> Iterator[Any]:
    with clickhouse_connect.get_client(dsn=unique_database) as made:
        made.command(TABLE)
        yield made


def block(first: int, count: int) -> pa.Table:
    return pa.table(
        {
            "a": pa.array(range(first, first + count), pa.uint64()),
            "b": [f"row {n}" for n in range(first, first + count)],
            "at": pa.array([AT] * count, pa.timestamp("ms", "UTC")),
        }
    )


def ask(dsn: str, query: str, data: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    """One raw request to the endpoint of a DSN: status, headers, body."""
    url = f"{dsn.rsplit('/', 1)[0]}/?{urllib.parse.urlencode({'query': query})}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, data), timeout=DEADLINE_S) as reply:
            return reply.status, dict(reply.headers), reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def test_rows_come_back_as_they_were_inserted(client: Any) -> None:
    rows = [(1, 'it\'s \\ a\ttab\nand `quotes` "é"', AT), (2, "", AT)]
    assert client.insert("t", rows, column_names=["a", "b", "at"]).written_rows == 2
    # The client leaves the zone out where it is UTC.
    expected = [(a, b, at.replace(tzinfo=None)) for a, b, at in rows]
    assert client.query("SELECT * FROM t ORDER BY a").result_rows == expected


def test_a_data_frame_comes_back(client: Any) -> None:
    frame = pd.DataFrame({"a": [7], "b": ["x"], "at": pd.to_datetime([AT])})
    client.insert_df("t", frame)
    assert client.query_df("SELECT a, b FROM t").values.tolist() == [[7, "x"]]


def test_an_arrow_table_comes_back(client: Any) -> None:
    client.insert_arrow("t", block(0, 20_000))
    table = client.query_arrow("SELECT a, at FROM t ORDER BY a", use_strings=True)
    assert table.column("a").to_pylist() == list(range(20_000))
    assert client.query_arrow("SELECT a FROM t WHERE a > 99999").num_rows == 0


@pytest.mark.parametrize("text", ["it's", "a\\b", "tab\tnew\nline", "", "é \U0001f600", "{x:Int8}"])
def test_parameters_are_values_and_never_sql(plain: Any, text: str) -> None:
    found = plain.query(
        "SELECT {s:String}, {n:Int64}, {l:Array(String)}, {at:DateTime64(3, 'UTC')}",
        parameters={"s": text, "n": -5, "l": ["a", "b'c"], "at": AT},
    )
    assert found.result_rows[0][:3] == (text, -5, ["a", "b'c"])


def test_a_long_query_travels_as_a_form(unique_database: str) -> None:
    with clickhouse_connect.get_client(
        dsn=unique_database, form_encode_query_params=True
    ) as client:
        wanted = ["x" * 1000] * 30
        found = client.query("SELECT {l:Array(String)}", parameters={"l": wanted})
        assert found.result_rows == [(wanted,)]


def test_a_block_with_a_token_is_inserted_once(plain: Any) -> None:
    for token, first in (("one", 0), ("one", 0), ("two", 0), ("one", 500)):
        plain.insert_arrow("t", block(first, 10), settings={"insert_deduplication_token": token})
    assert plain.command("SELECT count() FROM t") == 20


def test_settings_of_one_query_do_not_stay(plain: Any) -> None:
    asked = "SELECT getSetting('max_result_rows')"
    assert plain.query(asked, settings={"max_result_rows": 7}).result_rows == [(7,)]
    assert plain.query(asked).result_rows != [(7,)]


@pytest.mark.parametrize(
    ("sql", "code", "said"),
    [
        ("SELECT nope FROM t", 47, "nope"),
        ("SELECT 1 FROM nowhere", 60, "nowhere"),
        ("SELECT FROM WHERE", 62, "Syntax error"),
        ("SELECT 1; SELECT 2", 62, "ulti-statements"),
        ("CREATE TABLE k (a Int8) ENGINE = Kafka", 48, "Kafka is not available"),
        ("SYSTEM SHUTDOWN", 48, "stop the endpoint itself"),
        ("SET max_threads = 1", 48, "keeps no session"),
    ],
)
def test_an_error_has_its_code_and_its_text(plain: Any, sql: str, code: int, said: str) -> None:
    with pytest.raises(DatabaseError, match=said) as raised:
        plain.command(sql)
    assert raised.value.code == code


def test_an_insert_that_cannot_be_read_leaves_nothing(unique_database: str) -> None:
    database = unique_database.rsplit("/", 1)[1]
    ask(unique_database, f"CREATE TABLE {database}.c (a UInt8) ENGINE = MergeTree ORDER BY a", b"")
    status, headers, body = ask(unique_database, f"INSERT INTO {database}.c FORMAT CSV", b"1\n2\nx")
    assert (status, headers["X-ClickHouse-Exception-Code"]) == (400, "117")
    assert b"(INCORRECT_DATA)" in body
    assert ask(unique_database, f"SELECT count() FROM {database}.c")[2] == b"0\n"


def test_get_only_reads(unique_database: str) -> None:
    assert ask(unique_database, "SELECT 1 FORMAT JSONEachRow")[2] == b'{"1":1}\n'
    status, headers, _ = ask(unique_database, "CREATE DATABASE made_by_get")
    assert (status, headers["X-ClickHouse-Exception-Code"]) == (500, "164")


def test_ping_says_ok(clickhouse_dsn: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{clickhouse_dsn.rsplit('/', 1)[0]}/ping", timeout=DEADLINE_S) as reply:
        assert reply.read() == b"Ok.\n"


def test_an_unknown_database_is_refused(clickhouse_dsn: str) -> None:
    with pytest.raises(DatabaseError, match="nowhere"):
        clickhouse_connect.get_client(dsn=f"{clickhouse_dsn.rsplit('/', 1)[0]}/nowhere")


def test_a_stream_that_breaks_off_is_an_error_for_its_reader(plain: Any) -> None:
    sql = "SELECT throwIf(number = 900000) FROM numbers(1000000) SETTINGS max_block_size = 10000"
    with pytest.raises((StreamFailureError, DatabaseError)), plain.query_row_block_stream(sql) as s:
        assert sum(len(rows) for rows in s) < 1_000_000


def test_readers_and_a_writer_work_side_by_side(unique_database: str, plain: Any) -> None:
    blocks, size = 30, 2_000

    def write() -> None:
        with clickhouse_connect.get_client(dsn=unique_database) as writer:
            for n in range(blocks):
                token = {"insert_deduplication_token": str(n)}
                writer.insert_arrow("t", block(n * size, size), settings=token)

    def read(_: int) -> int:
        seen = 0
        with clickhouse_connect.get_client(dsn=unique_database) as reader:
            while seen < blocks * size:
                with reader.query_row_block_stream("SELECT a, b FROM t") as stream:
                    count = sum(len(rows) for rows in stream)
                assert count % size == 0
                assert count >= seen
                seen = count
        return seen

    with ThreadPoolExecutor(4) as pool:
        writing = pool.submit(write)
        assert list(pool.map(read, range(3), timeout=DEADLINE_S)) == [blocks * size] * 3
        writing.result(DEADLINE_S)


def test_acknowledged_rows_outlive_a_kill_and_a_restart(tmp_path: Path) -> None:
    rows = 0
    for round_number in range(3):
        (port,) = free_ports(1)
        endpoint = EmbeddedClickHouse(tmp_path, port)
        with endpoint, clickhouse_connect.get_client(dsn=endpoint.address) as client:
            client.command(TABLE.replace("TABLE t", "TABLE IF NOT EXISTS t"))
            assert client.command("SELECT count() FROM t") == rows
            client.insert_arrow("t", block(rows, 5_000))
            rows += 5_000
            if round_number < 2:
                os.kill(endpoint.pid or 0, signal.SIGKILL)


def test_a_second_endpoint_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    first, second = free_ports(2)
    with EmbeddedClickHouse(tmp_path, first) as running:
        with pytest.raises(Unavailable, match=rf"in use by .*process {running.pid} since"):
            EmbeddedClickHouse(tmp_path, second).start()
        with pytest.raises(BadSettings, match=f"port {first} for clickhouse is taken"):
            EmbeddedClickHouse(tmp_path / "other", first).start()


def test_stopping_lets_a_running_statement_end(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with (
        EmbeddedClickHouse(tmp_path, port) as endpoint,
        clickhouse_connect.get_client(dsn=endpoint.address) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        asked = pool.submit(client.query, "SELECT sleep(2), 'done'")
        running = "SELECT count() FROM system.processes WHERE query LIKE '%sleep(2)%done%'"
        deadline = time.monotonic() + DEADLINE_S
        while ask(endpoint.address, running)[2] != b"2\n":
            assert time.monotonic() < deadline
        endpoint.stop()
        assert asked.result(DEADLINE_S).result_rows == [(0, "done")]
