"""Rows per second of the sink: a topic of valid events, written beforehand, into ClickHouse."""

from __future__ import annotations

import time
from typing import Any

from adapters.clickhouse import connected
from adapters.tables import OF_TOPIC
from adapters.tables_migrate import migrate
from bench.streams_ground import Ground, Sender, make_topics, process
from bench.streams_shop import Traffic, arrivals
from bench.streams_speed import EVENTS_PER_VISIT, committed_rate, say
from schemas import topics


def sink_rows(ground: Ground, events: int, turn: int, within_s: float) -> dict[str, Any]:
    """Rows stored per second between the first that are seen and the last; asked every 20 ms."""
    _ = ground.clickhouse
    settings = ground.settings(f"sink{turn}")
    make_topics(ground, [settings.topic_prefix], topics.ALL)
    sender = Sender(settings, [settings.topic_prefix], valid=True)
    for arrival in arrivals(Traffic(round(events / EVENTS_PER_VISIT)), answers=False):
        sender.send(arrival)
    sender.flush()
    written = sender.counts["events"]
    table = OF_TOPIC[topics.EVENTS_VALID.name].name
    with connected(settings.clickhouse) as client:
        migrate(client)

        def rows() -> int:
            return int(client.query_rows(f"SELECT count() FROM `{table}`")[0][0])

        log = ground.folder / f"sink{turn}.log"
        with process(["-m", "streams", "sink"], ground.environ(settings), log) as sink:
            began_s = time.monotonic()
            kept = committed_rate(rows, written, lambda: sink.poll() is None, within_s)
        distinct = client.query_rows(f"SELECT uniqExact(_partition, _offset) FROM `{table}`")
        exact = rows() == int(distinct[0][0]) == written
    say(f"sink: {kept['rate']:,.0f} rows/s of {written:,}, {time.monotonic() - began_s:.1f} s")
    return {"rate": kept["rate"], "rows": written, "exact": exact and kept["complete"]}
