"""The numbered steps from one version of the tables to the next, as statements. Pure.

A step is never changed once released; the next change is the next number. Each runs once on a table
that an older version made, and may run again or beside itself: IF NOT EXISTS throughout. None drops
or rewrites a row. New tables are made as they are now and need no steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from adapters.tables import REBUILT, STORED_AT, Table


class Step(msgspec.Struct, frozen=True):
    """What one version changes, and the statements that change one table."""

    version: int
    what: str
    statements: Callable[[Table], Sequence[str]]


def _as_made(_table: Table) -> Sequence[str]:
    return ()


def _kept(table: Table) -> Sequence[str]:
    # Parts stored before have no storing time of their own: theirs is that of their next merge.
    found = [f"ALTER TABLE `{table.name}` ADD COLUMN IF NOT EXISTS {STORED_AT}"]
    if table.days is not None:
        found.append(
            f"ALTER TABLE `{table.name}` MODIFY TTL {table.kept()} "
            "SETTINGS materialize_ttl_after_modify = 0"
        )
    return found


def _sought(table: Table) -> Sequence[str]:
    return [
        f"ALTER TABLE `{table.name}` ADD INDEX IF NOT EXISTS {index}" for index in table.lookups()
    ]


def _counted(table: Table) -> Sequence[str]:
    if table.counted is None:
        return ()
    return (
        f"ALTER TABLE `{table.name}` MODIFY SETTING {REBUILT}",
        f"ALTER TABLE `{table.name}` ADD PROJECTION IF NOT EXISTS {table.counted}",
    )


STEPS: tuple[Step, ...] = (
    Step(1, "a table for every topic", _as_made),
    Step(2, "the time a row was stored, and for how long rows are kept", _kept),
    Step(3, "indexes for looking rows up by id", _sought),
    Step(4, "counts of events by name and day", _counted),
)
SCHEMA_VERSION = STEPS[-1].version
