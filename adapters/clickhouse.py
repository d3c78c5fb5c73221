"""ClickHouse over HTTP: queries and inserts with one deadline each, and its errors as ours.

The DSN is `http://[user[:password]@]host:port/database`; `dsn_of` puts in the user and the
password that are settings of their own. Knows no table: those are in
`adapters/tables.py`. Statements run in the DSN's database, which need not exist yet.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, quote, unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.exceptions import Error, InternalError, OperationalError

from adapters.private_file import read_secret
from core.settings import Settings, redacted
from schemas.errors import BadSettings, Unavailable

DEADLINE_S = 30.0
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 3.0
# Codes that pass by themselves: time-outs, load, memory, read-only replicas, keeper sessions.
_PASSING_CODES = frozenset({159, 164, 201, 202, 203, 209, 210, 225, 241, 242, 252, 279, 319, 999})
_T = TypeVar("_T")


class ClickHouse:
    """A client of one database; made by `connect`, usable from several threads."""

    def __init__(self, client: Any, database: str, address: str, deadline_s: float) -> None:
        self._client = client
        self.database = database
        self.address = address
        self.deadline_s = deadline_s

    def query_arrow(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Any:
        """The result as a `pyarrow.Table`; `{name:Type}` in the text takes `parameters[name]`.

        Raises:
            Unavailable: no answer within the deadline.
            BadSettings: ClickHouse refused the statement.
        """
        return self._retried(
            lambda: self._client.query_arrow(
                sql, parameters=dict(parameters or {}), settings=_settings(settings)
            )
        )

    def query_rows(
        self, sql: str, parameters: Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """The result as tuples of Python values, in memory; raises as `query_arrow`."""
        return self.query_table(sql, parameters)[1]

    def query_table(
        self, sql: str, parameters: Mapping[str, Any] | None = None
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The column names and the rows; raises as `query_arrow`."""
        result = self._retried(lambda: self._client.query(sql, parameters=dict(parameters or {})))
        return list(result.column_names), [tuple(row) for row in result.result_rows]

    def command(
        self, sql: str, parameters: Mapping[str, Any] | None = None, *, in_database: bool = True
    ) -> Any:
        """Run a statement without a result set; raises as `query_arrow`."""
        return self._retried(
            lambda: self._client.command(
                sql, parameters=dict(parameters or {}), use_database=in_database
            )
        )

    def insert_stream(self, table: str, columns: Sequence[str], block: bytes, token: str) -> None:
        """Insert one Arrow stream; sent again with the same `token` it is stored once.

        Raises:
            Unavailable: not confirmed within the deadline (it may be stored all the same).
            BadSettings: ClickHouse refused the block.
        """
        settings = {"insert_deduplication_token": token, "insert_deduplicate": "1"}
        target = f"`{self.database}`.`{table}`"
        self._retried(
            lambda: self._client.raw_insert(
                target, list(columns), block, settings=settings, fmt="ArrowStream"
            )
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _retried(self, call: Callable[[], _T]) -> _T:
        return _until_deadline(call, self.deadline_s, self.address)


def dsn_of(settings: Settings) -> str:
    """The DSN with the user and the password that the settings name apart from it.

    Raises:
        BadSettings: the password's file cannot be used.

    >>> dsn_of(Settings(clickhouse="https://ch.example/shop", clickhouse_user="me@home"))
    'https://me%40home@ch.example/shop'
    """
    user, file = settings.clickhouse_user, settings.clickhouse_password_file
    if not user and not file:
        return settings.clickhouse
    scheme, slashes, rest = settings.clickhouse.partition("://")
    before, at, place = rest.rpartition("@")
    given, colon, password = before.partition(":") if at else ("", "", "")
    if file:
        secret = read_secret(Path(file).expanduser(), "SHOPLOOP_CLICKHOUSE_PASSWORD_FILE")
        colon, password = ":", quote(secret, safe="")
    name = quote(user, safe="") if user else given or "default"
    return f"{scheme}{slashes}{name}{colon}{password}@{place}"


def connect(dsn: str, *, deadline_s: float = DEADLINE_S) -> ClickHouse:
    """A client of the DSN's database, after a handshake.

    Args:
        dsn: `http(s)://[user[:password]@]host[:port]/database`.
        deadline_s: how long this call and every later one may take, retries included.

    Raises:
        BadSettings: the DSN does not parse or its user is refused.
        Unavailable: no answer within the deadline.
    """
    parts = _parse(dsn)
    address = f"{parts.hostname}:{parts.port}"

    def handshake() -> Any:
        # The database may not exist before the first migration: shake hands in `default`.
        return clickhouse_connect.get_client(
            host=parts.hostname,
            port=parts.port or (8443 if parts.scheme == "https" else 8123),
            secure=parts.scheme == "https",
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password or ""),
            database="default",
            compress=False,
            query_limit=0,
            connect_timeout=min(10, max(1, int(deadline_s))),
            send_receive_timeout=max(1, int(deadline_s)),
            autogenerate_session_id=False,
        )

    client = _until_deadline(handshake, deadline_s, address)
    database = parts.path.strip("/")
    client.database = database
    return ClickHouse(client, database, address, deadline_s)


@contextlib.contextmanager
def connected(dsn: str, *, deadline_s: float = DEADLINE_S) -> Iterator[ClickHouse]:
    """`connect`, closed at the end of the block."""
    client = connect(dsn, deadline_s=deadline_s)
    try:
        yield client
    finally:
        client.close()


def _parse(dsn: str) -> SplitResult:
    # The DSN may carry a password: the message shows what follows the @ alone.
    expected = f"SHOPLOOP_CLICKHOUSE={redacted(dsn)!r}: expected http://host:port/database"
    try:
        parts = urlsplit(dsn)
        port = parts.port
    except ValueError as error:
        raise BadSettings(f"{expected} ({error})") from error
    database = parts.path.strip("/")
    named = database.replace("_", "").isalnum() and database.isascii()
    if parts.scheme not in ("http", "https") or not parts.hostname or not named or port == 0:
        raise BadSettings(expected)
    return parts


def _settings(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    # LowCardinality columns come back as plain strings rather than Arrow dictionaries.
    return {"output_format_arrow_string_as_string": 1, **(settings or {})}


def _until_deadline(call: Callable[[], _T], deadline_s: float, address: str) -> _T:
    deadline = time.monotonic() + deadline_s
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return call()
        except Error as error:
            if not _passing(error):
                raise BadSettings(f"ClickHouse at {address} refused: {_text(error)}") from error
            if time.monotonic() + pause_s > deadline:
                raise Unavailable(
                    f"ClickHouse at {address} did not answer within {deadline_s:g} s: "
                    f"{_text(error)}"
                ) from error
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _passing(error: Error) -> bool:
    """Whether trying again may help: the network failed, or the server is busy or short."""
    if error.code is not None:
        return error.code in _PASSING_CODES
    return isinstance(error, OperationalError | InternalError)


def _text(error: Error) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:1_000]
