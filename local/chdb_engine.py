"""chDB as a server's engine: one directory, one short-lived handle for each statement.

A handle carries a statement's database, settings and parameters and is thrown away after it:
opening one costs 0.2 ms, and a handle with a stream open would answer others with nothing.
Knows nothing of HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local import clickhouse_sql as sql

_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")


@dataclass(frozen=True)
class Statement:
    """What a client asks for: the text with any data after it, and all that came with it."""

    body: bytes
    database: str = "default"
    default_format: str = "TabSeparated"
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    read_only: bool = False
    stream: bool = False


@dataclass(frozen=True)
class Answer:
    """The answer's chunks in the named format, and what the statement read and wrote."""

    format: str
    chunks: Iterator[bytes]
    summary: Mapping[str, int]


class EngineError(Exception):
    """A statement failed or was refused; `code` is ClickHouse's."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = sql.error_code(text)


class Engine:
    """The one owner of a chDB directory in this process; safe to use from many threads."""

    def __init__(self, data_dir: Path, database: str) -> None:
        # The first handle keeps the engine running between statements.
        self._path = str(data_dir)
        self._keeper = self._open()
        self._keeper.query(f"CREATE DATABASE IF NOT EXISTS {_name(database)}")
        said = self._keeper.query("SELECT version(), timezone()", "TabSeparated").bytes().decode()
        self.version, self.timezone = said.split()

    def close(self) -> None:
        """Close the directory; statements that run have to be over."""
        self._keeper.close()

    def _open(self) -> Any:
        from chdb.state.sqlitelike import Connection

        return Connection(self._path)

    def run(self, statement: Statement) -> Answer:
        """Run one statement.

        Raises:
            EngineError: chDB refused or failed it, or the endpoint refuses it.
        """
        try:
            return self._run(statement)
        except (RuntimeError, sql.Refused) as error:
            # chDB's own error class is a RuntimeError too.
            raise EngineError(_without_prefix(str(error))) from error

    def _run(self, statement: Statement) -> Answer:
        insert = sql.split_insert(statement.body)
        handle = self._open()
        try:
            _prepare(handle, statement)
            if insert is not None:
                if statement.read_only:
                    raise _read_only()
                return _insert(handle, insert, statement)
            return _query(handle, statement)
        except BaseException:
            handle.close()
            raise


def _prepare(handle: Any, statement: Statement) -> None:
    if statement.database != "default":
        handle.query(f"USE {_name(statement.database)}")
    assignments = [f"{_setting(k)}={sql.literal(v)}" for k, v in statement.settings.items()]
    if assignments:
        handle.query("SET " + ", ".join(assignments))


def _insert(handle: Any, insert: sql.Insert, statement: Statement) -> Answer:
    for name, value in statement.parameters.items():
        handle.query(f"SET {_setting('param_' + name)}={sql.literal(value)}")
    with closing(handle):
        writer = handle.send_insert(insert.statement.decode(), insert.format)
        writer.append(insert.data)
        result = writer.finish()
    summary = {"written_rows": result.rows_written, "written_bytes": result.bytes_written}
    return Answer(statement.default_format, iter(()), summary)


def _query(handle: Any, statement: Statement) -> Answer:
    text = statement.body.decode(errors="replace")
    sql.refuse(text)
    _check_class(handle, text, read_only=statement.read_only)
    wanted = sql.output_format(text, statement.default_format)
    parameters = dict(statement.parameters)
    if statement.stream and wanted == "Native" and _streams(text):
        stream = handle.send_query(text, wanted, params=parameters)
        return Answer(wanted, _drain(handle, stream, stream.fetch()), {})
    with closing(handle):
        result = handle.query(text, wanted, params=parameters)
        summary = {
            "read_rows": result.storage_rows_read(),
            "read_bytes": result.storage_bytes_read(),
            "written_rows": result.rows_written(),
            "written_bytes": result.bytes_written(),
            "result_rows": result.rows_read(),
            "elapsed_ns": int(result.elapsed() * 1e9),
        }
        return Answer(wanted, iter((result.bytes(),)), summary)


def _streams(text: str) -> bool:
    return text.lstrip(" \n\t(")[:6].upper().startswith(("SELECT", "WITH"))


def _drain(handle: Any, stream: Any, first: Any) -> Iterator[bytes]:
    try:
        chunk = first
        while chunk is not None:
            yield chunk.bytes()
            chunk = stream.fetch()
    finally:
        stream.close()
        handle.close()


def _check_class(handle: Any, text: str, *, read_only: bool) -> None:
    # chDB's own parser says what the statement would do, without running it.
    known = handle._conn.classify_query(text)
    if known["statement_count"] > 1:
        raise sql.Refused(
            sql.SYNTAX_ERROR, "SYNTAX_ERROR", "Syntax error: multi-statements are not allowed"
        )
    if read_only and known["statement_count"] and known["query_class"].name != "READ_ONLY":
        raise _read_only()


def _read_only() -> sql.Refused:
    return sql.Refused(
        sql.READONLY,
        "READONLY",
        "Cannot execute query in readonly mode. For queries over HTTP, method GET implies "
        "readonly. You should use method POST for modifying queries",
    )


def _setting(name: str) -> str:
    if not _SETTING.match(name):
        raise sql.Refused(115, "UNKNOWN_SETTING", f"Unknown setting {sql.literal(name)}")
    return name


def _name(database: str) -> str:
    escaped = database.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def _without_prefix(text: str) -> str:
    at = text.find("Code: ")
    return text[at:] if at > 0 else text
