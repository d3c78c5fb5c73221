"""How far the sink has come, read from the tables: where to resume, and what has been stored.

A topic is known by its full Kafka name and its topic id, so that one deleted and made again starts
anew. Offsets count transaction markers, as Kafka's own do.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from adapters.clickhouse import ClickHouse
from adapters.tables import OF_TOPIC, PROGRESS, QUARANTINE, WATERMARKS, Table
from schemas.errors import Unavailable
from schemas.topics import BY_NAME

_POLL_S = 0.05


class Resume(msgspec.Struct, frozen=True):
    """Where to read one topic on: the next offset by partition, and each table's newest rows.

    `stored` holds, by (table, partition), the newest offset in the table: blocks are stored whole
    and in offset order, so everything up to it is in.
    """

    next_offset: Mapping[int, int]
    stored: Mapping[tuple[str, int], int]


def resume_of(client: ClickHouse, bare_name: str, topic: str, topic_id: str) -> Resume:
    """Where to read a topic on.

    The progress table says what is stored in every table; rows beyond it come from a block whose
    tables were not all written when the sink ended, and are left out table by table.
    """
    place = {"topic": topic, "topic_id": topic_id}
    rows = client.query_rows(
        f"SELECT _partition, max(next_offset) FROM `{PROGRESS}` "
        "WHERE _topic = {topic:String} AND _topic_id = {topic_id:String} GROUP BY _partition",
        place,
    )
    next_offset = {int(partition): int(offset) for partition, offset in rows}
    known = [next_offset.get(number, 0) for number in range(BY_NAME[bare_name].partitions)]
    since = min(known, default=0)
    stored: dict[tuple[str, int], int] = {}
    for table in tables_of(bare_name):
        for partition, newest in client.query_rows(
            f"SELECT _partition, max(_offset) FROM `{table.name}` WHERE _topic = {{topic:String}} "
            "AND _topic_id = {topic_id:String} AND _offset >= {since:Int64} GROUP BY _partition",
            {**place, "since": since},
        ):
            stored[table.name, int(partition)] = int(newest)
    return Resume(next_offset, stored)


def tables_of(bare_name: str) -> tuple[Table, ...]:
    """Every table that may hold records of a topic."""
    return (OF_TOPIC[bare_name], WATERMARKS, QUARANTINE)


def sunk_offsets(client: ClickHouse) -> dict[str, int]:
    """The next offset the sink will read, by `full topic name/partition`; 0 is not listed.

    Of a topic that was made again, the newest topic counts.
    """
    rows = client.query_rows(
        f"SELECT _topic, _partition, argMax(furthest, last) FROM (SELECT _topic, _topic_id, "
        f"_partition, max(next_offset) AS furthest, max(written_at_ms) AS last FROM `{PROGRESS}` "
        "GROUP BY _topic, _topic_id, _partition) GROUP BY _topic, _partition"
    )
    return {f"{topic}/{partition}": int(offset) for topic, partition, offset in rows}


def behind(sunk: Mapping[str, int], wanted: Mapping[str, int], prefix: str) -> dict[str, int]:
    """The wanted offsets that the sink has not reached; topics may go by bare or full names.

    >>> behind({"shoploop.items.v1/0": 5}, {"items/0": 5, "items/1": 2}, "shoploop.")
    {'items/1': 2}
    """
    return {
        place: offset
        for place, offset in wanted.items()
        if sunk.get(_full(place, prefix), 0) < offset
    }


def wait_sunk(
    client: ClickHouse, wanted: Mapping[str, int], prefix: str, *, within_s: float
) -> None:
    """Return when the sink has stored every record before the wanted offsets.

    Args:
        client: the database the sink writes to.
        wanted: next offset by `topic/partition`, the topic's bare or full name.
        prefix: the topic prefix of the settings.
        within_s: how long to wait.

    Raises:
        Unavailable: the sink did not come that far in time; the text says where it stands.
    """
    deadline = time.monotonic() + within_s
    while left := behind(sunk_offsets(client), wanted, prefix):
        if time.monotonic() > deadline:
            raise Unavailable(f"the sink has not stored {_said(left)} within {within_s:g} s")
        time.sleep(_POLL_S)


def running_inserts(client: ClickHouse, tables: Iterable[str]) -> Sequence[str]:
    """The ids of inserts into these tables that ClickHouse is running now."""
    rows = client.query_rows(
        "SELECT query_id, query FROM system.processes WHERE query_kind = 'Insert'"
    )
    targets = [f"`{client.database}`.`{table}`" for table in tables]
    return [str(found) for found, text in rows if any(target in text for target in targets)]


def _full(place: str, prefix: str) -> str:
    name, _, partition = place.rpartition("/")
    return f"{BY_NAME[name].full_name(prefix)}/{partition}" if name in BY_NAME else place


def _said(left: Mapping[str, int]) -> str:
    return ", ".join(f"{place} up to {offset}" for place, offset in sorted(left.items())[:5])
