"""The sink's side of ClickHouse: where to resume, a batch stored once, the progress after it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

from adapters.clickhouse import ClickHouse
from adapters.clock import wall_ms
from adapters.tables import PROGRESS, TABLES
from adapters.tables_progress import Resume, resume_of, running_inserts
from schemas.errors import Unavailable
from streams.sink_arrow import column_array, stream_of
from streams.sink_block import Block

log = logging.getLogger(__name__)
_PROGRESS_COLUMNS = (
    ("_topic", "LowCardinality(String)"),
    ("_topic_id", "LowCardinality(String)"),
    ("_partition", "Int32"),
    ("next_offset", "Int64"),
    ("written_at_ms", "Int64"),
)
_POLL_S = 0.05

Place = tuple[str, str, int]


class Store:
    """Writes batches; every call may raise Unavailable, after which the process has to end."""

    def __init__(self, client: ClickHouse) -> None:
        self._client = client
        self.stored: dict[tuple[str, str, int], int] = {}
        self.rows_by_table: dict[str, int] = {}

    def wait_quiet(self) -> None:
        """Return when no insert of a sink that ended is still running.

        Raises:
            Unavailable: one ran on beyond the client's deadline.
        """
        names = [table.name for table in TABLES]
        deadline = time.monotonic() + self._client.deadline_s
        while running := running_inserts(self._client, names):
            if time.monotonic() > deadline:
                raise Unavailable(f"an insert of an earlier sink still runs: {running[0]}")
            time.sleep(_POLL_S)

    def resume(self, bare_name: str, topic: str, topic_id: str) -> Resume:
        """Where to read a topic on; rows that are stored beyond it are remembered."""
        found = resume_of(self._client, bare_name, topic, topic_id)
        for key in [key for key in self.stored if key[1] == topic]:
            del self.stored[key]
        for (table, partition), newest in found.stored.items():
            self.stored[table, topic, partition] = newest
        return found

    def write(self, blocks: Sequence[Block]) -> None:
        """Store blocks in their order, each whole or not at all."""
        for block in blocks:
            started = time.monotonic()
            name, stream, token = block.table.name, block.stream(), block.token()
            self._client.insert_stream(name, block.names(), stream, token)
            rows = block.rows
            self.rows_by_table[name] = self.rows_by_table.get(name, 0) + rows
            log.debug("%s: %d rows in %.3f s", name, rows, time.monotonic() - started)

    def write_progress(self, next_offsets: Mapping[Place, int]) -> None:
        """Record the next offset by (topic, topic id, partition), after their rows are stored."""
        if not next_offsets:
            return
        at_ms = wall_ms()
        rows = sorted((*place, offset, at_ms) for place, offset in next_offsets.items())
        columns = zip(*rows, strict=True)
        names = [name for name, _ in _PROGRESS_COLUMNS]
        arrays = [
            column_array(kind, values)
            for (_, kind), values in zip(_PROGRESS_COLUMNS, columns, strict=True)
        ]
        token = "progress" + ";".join("/".join(map(str, row[:-1])) for row in rows)
        self._client.insert_stream(PROGRESS, names, stream_of(names, arrays), token)
