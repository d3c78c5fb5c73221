"""Addresses of a real broker and a real ClickHouse for the tests that need them.

The environment's when it names them, else embedded ones, started once a session on free ports.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import hypothesis
import pytest

from local.child import free_ports
from local.clickhouse import EmbeddedClickHouse
from local.kafka import EmbeddedKafka

# Where the caller forbids compiled modules, each of the many processes that tests start would
# compile thousands of files anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A busy machine is no reason to fail: no deadline for an example, and none of five seconds for a
# reply where a test names none (the module's functions have this very object as their default).
hypothesis.settings.register_profile("shoploop", deadline=None)
hypothesis.settings.load_profile("shoploop")
_REPLY_WITHIN_S = 60.0
for _phase in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, _phase, _REPLY_WITHIN_S)


@pytest.fixture(scope="session")
def kafka_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What `bootstrap.servers` takes."""
    if given := os.environ.get("SHOPLOOP_KAFKA"):
        yield given
        return
    port, controller_port = free_ports(2)
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka"), port, controller_port) as broker:
        yield broker.address


@pytest.fixture(scope="session")
def clickhouse_dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address with the default database, `http://host:port/shoploop`."""
    if given := os.environ.get("SHOPLOOP_CLICKHOUSE"):
        yield given
        return
    (port,) = free_ports(1)
    with EmbeddedClickHouse(tmp_path_factory.mktemp("clickhouse"), port) as endpoint:
        yield endpoint.address


@pytest.fixture
def unique_prefix() -> str:
    """A topic prefix no other test has, like `t3f2a91c.`; groups can begin with it too."""
    return f"t{secrets.token_hex(4)}."


@pytest.fixture
def unique_database(clickhouse_dsn: str) -> Iterator[str]:
    """The address of a database of its own, dropped after the test."""
    import clickhouse_connect

    name = f"t{secrets.token_hex(4)}"
    with clickhouse_connect.get_client(dsn=clickhouse_dsn) as client:
        client.command(f"CREATE DATABASE {name}")
        yield f"{clickhouse_dsn.rsplit('/', 1)[0]}/{name}"
        client.command(f"DROP DATABASE {name}")


@pytest.fixture(scope="session")
def migrated(clickhouse_dsn: str) -> Iterator[Any]:
    """A client of a database with this code's tables: making them takes a second or two."""
    from adapters.clickhouse import connected
    from adapters.tables_migrate import migrate

    with connected(f"{clickhouse_dsn.rsplit('/', 1)[0]}/t{secrets.token_hex(4)}") as client:
        migrate(client)
        yield client
        client.command(f"DROP DATABASE `{client.database}`", in_database=False)


@pytest.fixture
def tables(migrated: Any) -> Iterator[Any]:
    """Empty tables, for records as the sink puts them there (`tables_factory.Tables`)."""
    from tables_factory import Tables

    made = Tables(migrated)
    yield made
    made.empty()
