"""Brings a ClickHouse database to this code's tables: makes what is missing, takes numbered steps.

Never drops, and changes no type but to let it hold NULL: a table that disagrees stops the process
with a line that says where. Any process may run it, at any time, also two at once. `_schema`
records every step.
"""

from __future__ import annotations

from adapters.clickhouse import ClickHouse
from adapters.tables import PROGRESS_DDL, SCHEMA, SCHEMA_DDL, TABLES, Table
from adapters.tables_columns import nullable
from adapters.tables_steps import SCHEMA_VERSION, STEPS, Step
from schemas.errors import BadSettings


def migrate(client: ClickHouse) -> None:
    """Create the database and its tables where missing, and take older ones to this version.

    Raises:
        BadSettings: the database was written by a newer version, or a column has another type.
        Unavailable: ClickHouse did not answer in time.
    """
    client.command(f"CREATE DATABASE IF NOT EXISTS `{client.database}`", in_database=False)
    client.command(SCHEMA_DDL)
    applied = {int(row[0]) for row in client.query_rows(f"SELECT version FROM `{SCHEMA}`")}
    newest = max(applied, default=0)
    if newest > SCHEMA_VERSION:
        raise BadSettings(
            f"database {client.database}: its schema is version {newest}, "
            f"this shoploop knows {SCHEMA_VERSION}: upgrade it"
        )
    client.command(PROGRESS_DDL)
    there = _columns_there(client)
    for table in TABLES:
        if table.name in there:
            _extend(client, table, there[table.name])
        else:
            client.command(table.ddl())
    older = [table for table in TABLES if table.name in there]
    for step in STEPS:
        if step.version not in applied:
            _take(client, step, older)


def _take(client: ClickHouse, step: Step, older: list[Table]) -> None:
    """Run a step and record it: a process that ends in between leaves it to be run again."""
    for table in older:
        for statement in step.statements(table):
            client.command(statement)
    client.command(f"ALTER TABLE `{SCHEMA}` ADD COLUMN IF NOT EXISTS what String AFTER version")
    client.command(
        f"INSERT INTO `{SCHEMA}` (version, what) SELECT {{version:UInt32}}, {{what:String}} "
        f"WHERE {{version:UInt32}} NOT IN (SELECT version FROM `{SCHEMA}`)",
        {"version": step.version, "what": step.what},
    )


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
        elif column.type == nullable(kind):
            # A field that by now not every kind of the record has: each value stays as it is.
            client.command(f"ALTER TABLE `{table.name}` MODIFY COLUMN {column.ddl()}")
        elif kind != column.type:
            raise BadSettings(
                f"table {client.database}.{table.name}: column {column.name} is {kind}, "
                f"expected {column.type}"
            )
