"""The tables of a database that several tests use in turn, each from empty ones."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from tables_factory import Tables

from adapters.clickhouse import ClickHouse, connected
from adapters.tables_migrate import migrate


@pytest.fixture(scope="session")
def migrated(clickhouse_dsn: str) -> Iterator[ClickHouse]:
    """A client of a database with this code's tables: making them takes a second or two."""
    with connected(f"{clickhouse_dsn.rsplit('/', 1)[0]}/t{secrets.token_hex(4)}") as client:
        migrate(client)
        yield client
        client.command(f"DROP DATABASE `{client.database}`", in_database=False)


@pytest.fixture
def tables(migrated: ClickHouse) -> Iterator[Tables]:
    """Empty tables, for records as the sink puts them there."""
    made = Tables(migrated)
    yield made
    made.empty()
