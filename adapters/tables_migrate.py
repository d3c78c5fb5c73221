"""Brings a ClickHouse database to this code's tables: creates what is missing, adds new columns.

Never drops, never changes a type: a table that disagrees stops the process with a line that says
where. Any process may run it, at any time, also two at once.
"""

from __future__ import annotations

from adapters.clickhouse import ClickHouse
from adapters.tables import (
    PROGRESS_DDL,
    SCHEMA,
    SCHEMA_DDL,
    SCHEMA_VERSION,
    TABLES,
    Table,
)
from schemas.errors import BadSettings


def migrate(client: ClickHouse) -> None:
    """Create the database, its tables and their new columns where missing.

    Raises:
        BadSettings: the database was written by a newer version, or a column has another type.
        Unavailable: ClickHouse did not answer in time.
    """
    client.command(f"CREATE DATABASE IF NOT EXISTS `{client.database}`", in_database=False)
    client.command(SCHEMA_DDL)
    applied = int(client.query_rows(f"SELECT max(version) FROM `{SCHEMA}`")[0][0] or 0)
    if applied > SCHEMA_VERSION:
        raise BadSettings(
            f"database {client.database}: its schema is version {applied}, "
            f"this shoploop knows {SCHEMA_VERSION}: upgrade it"
        )
    client.command(PROGRESS_DDL)
    there = _columns_there(client)
    for table in TABLES:
        if table.name in there:
            _extend(client, table, there[table.name])
        else:
            client.command(table.ddl())
    if applied < SCHEMA_VERSION:
        client.command(f"INSERT INTO `{SCHEMA}` (version) VALUES ({SCHEMA_VERSION})")


def _columns_there(client: ClickHouse) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    rows = client.query_rows(
        "SELECT table, name, type FROM system.columns WHERE database = {database:String}",
        {"database": client.database},
    )
    for table, name, kind in rows:
        found.setdefault(table, {})[name] = kind
    return found


def _extend(client: ClickHouse, table: Table, there: dict[str, str]) -> None:
    for column in table.all_columns:
        kind = there.get(column.name)
        if kind is None:
            client.command(f"ALTER TABLE `{table.name}` ADD COLUMN IF NOT EXISTS {column.ddl()}")
            alias = column.alias_ddl()
            if alias is not None:
                client.command(f"ALTER TABLE `{table.name}` ADD COLUMN IF NOT EXISTS {alias}")
        elif kind != column.type:
            raise BadSettings(
                f"table {client.database}.{table.name}: column {column.name} is {kind}, "
                f"expected {column.type}"
            )
