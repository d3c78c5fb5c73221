"""What the endpoint reads in a statement before chDB does."""

from __future__ import annotations

import gzip
import zlib
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.clickhouse_http import BadRequest, decoded, statement_of
from local.clickhouse_sql import (
    Insert,
    Refused,
    error_code,
    http_status,
    literal,
    output_format,
    refuse,
    split_insert,
)


@pytest.mark.parametrize(
    ("body", "statement", "form", "data"),
    [
        (b"INSERT INTO t FORMAT Native\n\x00\x01", b"INSERT INTO t ", "Native", b"\x00\x01"),
        (b"insert into t format CSV 1,2", b"insert into t ", "CSV", b"1,2"),
        (b"INSERT INTO t FORMAT TSV \r\n\n1", b"INSERT INTO t ", "TSV", b"\n1"),
        (b"INSERT INTO t (a) VALUES (1), (2);\n", b"INSERT INTO t (a) ", "Values", b" (1), (2)"),
        (b"INSERT INTO t FORMAT Values (1)", b"INSERT INTO t ", "Values", b" (1)"),
        (b"INSERT INTO format FORMAT CSV\n1", b"INSERT INTO format ", "CSV", b"1"),
        (b"INSERT INTO d.values VALUES (1)", b"INSERT INTO d.values ", "Values", b" (1)"),
        (
            b"INSERT INTO t (`FORMAT`, values) FORMAT CSV\n1,2",
            b"INSERT INTO t (`FORMAT`, values) ",
            "CSV",
            b"1,2",
        ),
        (
            b"/* FORMAT x */ INSERT INTO t -- VALUES\nFORMAT CSV\n1",
            b"/* FORMAT x */ INSERT INTO t -- VALUES\n",
            "CSV",
            b"1",
        ),
        (
            b"INSERT INTO t SETTINGS insert_deduplication_token='FORMAT CSV' FORMAT CSV\n1",
            b"INSERT INTO t SETTINGS insert_deduplication_token='FORMAT CSV' ",
            "CSV",
            b"1",
        ),
    ],
)
def test_an_insert_is_cut_where_its_data_begins(
    body: bytes, statement: bytes, form: str, data: bytes
) -> None:
    assert split_insert(body) == Insert(statement, form, data)


@pytest.mark.parametrize(
    "body",
    [b"", b"SELECT 'INSERT INTO t FORMAT CSV'", b"INSERT INTO t SELECT 1 FORMAT CSV", b"\xff\x00"],
)
def test_other_statements_are_not_cut(body: bytes) -> None:
    assert split_insert(body) is None


@given(st.binary())
def test_data_is_never_changed(data: bytes) -> None:
    cut = split_insert(b"INSERT INTO t (a, b) FORMAT ArrowStream\n" + data)
    assert cut is not None
    assert cut.data == data


@given(st.binary())
def test_any_bytes_can_be_looked_at(body: bytes) -> None:
    split_insert(body)
    refuse(body.decode(errors="replace"))


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE q (a Int8) ENGINE = Kafka SETTINGS kafka_broker_list = 'x'",
        "create table q (a Int8) engine=RabbitMQ",
        "CREATE TABLE q (a Int8) ENGINE = `Kafka`",
        'CREATE TABLE q (a Int8) ENGINE = "kafka"',
        "CREATE TABLE q (a Int8) /* hidden */ ENGINE /* = MergeTree */ = NATS",
        "ATTACH TABLE q (a Int8) ENGINE = S3Queue('x')",
        "CREATE OR REPLACE TABLE q (a Int8) ENGINE FileLog('x', 'CSV')",
        "CREATE DATABASE d ENGINE = MaterializedPostgreSQL('x')",
        "SET max_threads = 1",
        "USE other",
        "CREATE TEMPORARY TABLE t (a Int8)",
        "SYSTEM SHUTDOWN",
        "-- comment first\nSYSTEM KILL",
    ],
)
def test_what_would_ruin_the_directory_or_means_nothing_here_is_refused(sql: str) -> None:
    with pytest.raises(Refused) as raised:
        refuse(sql)
    assert error_code(str(raised.value)) == 48


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE t (engine String COMMENT 'ENGINE = Kafka') ENGINE = MergeTree ORDER BY 1",
        "CREATE TABLE kafka (kafka Int8) ENGINE = Memory",
        "SELECT 'ENGINE = Kafka'",
        "SYSTEM FLUSH LOGS",
        "ALTER TABLE t DELETE WHERE a = 1",
        "",
    ],
)
def test_ordinary_statements_pass(sql: str) -> None:
    refuse(sql)


def test_the_last_format_clause_names_the_format() -> None:
    assert output_format("SELECT 1 FORMAT JSON ;  -- done", "TSV") == "JSON"
    assert output_format("SELECT 'x FORMAT JSON'", "TSV") == "TSV"


def test_statuses_are_those_of_clickhouse() -> None:
    assert [http_status(code) for code in (62, 60, 81, 159, 48, 241)] == [
        400,
        404,
        404,
        408,
        501,
        500,
    ]


@given(st.text())
def test_a_literal_ends_where_it_should(text: str) -> None:
    inside = literal(text)[1:-1]
    assert "'" not in inside.replace("\\\\", "").replace("\\'", "")


def test_a_request_becomes_a_statement() -> None:
    url = "/?database=d&query=SELECT+1&param_x=5&max_threads=1&session_id=s&wait_end_of_query=1"
    made = statement_of(url, Message(), b"", read_only=False)
    assert (made.body, made.database, made.stream) == (b"SELECT 1", "d", False)
    assert (made.parameters, made.settings) == ({"x": "5"}, {"max_threads": "1"})


def test_a_query_in_the_url_comes_before_the_body() -> None:
    made = statement_of("/?query=INSERT+INTO+t+FORMAT+CSV", Message(), b"1\n", read_only=False)
    assert split_insert(made.body) == Insert(b"INSERT INTO t ", "CSV", b"1\n")


@pytest.mark.parametrize("parts", [[b"one"], [b"one", b"two"], [b""]])
def test_encoded_bodies_are_decoded_frame_by_frame(parts: list[bytes]) -> None:
    assert decoded(b"".join(gzip.compress(p) for p in parts), "gzip") == b"".join(parts)
    assert decoded(zlib.compress(parts[0]), "deflate") == parts[0]


def test_an_unknown_or_broken_encoding_is_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="'br' is not one of"):
        decoded(b"x", "br")
    with pytest.raises(BadRequest, match="not gzip"):
        decoded(b"not a frame at all", "gzip")


@given(st.binary(min_size=1), st.integers(min_value=1))
def test_half_a_body_is_never_taken_for_a_whole_one(data: bytes, cut: int) -> None:
    whole = gzip.compress(data)
    with pytest.raises(BadRequest):
        decoded(whole[: 1 + cut % (len(whole) - 1)], "gzip")
