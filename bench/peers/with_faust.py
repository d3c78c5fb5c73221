"""Faust's own loop: one agent that takes event by event. `python -m bench.peers.with_faust decode`.

Runs in the product's environment, whose Faust it is.
"""

from __future__ import annotations

from typing import Any

import faust

from bench.peers.work import Tally, options
from schemas import topics

SETTINGS: dict[str, Any] = {
    "processing_guarantee": "at_least_once",
    "broker_max_poll_records": 2_000,
    "stream_buffer_maxsize": 16_384,
    "stream_wait_empty": False,
    "stream_publish_on_commit": False,
    "broker_commit_interval": 2.8,
    "broker_commit_every": 10_000,
    "consumer_auto_offset_reset": "earliest",
}


def main() -> None:
    """Decodes, validates and counts what the agent's stream yields."""
    chosen = options()
    tally = Tally(chosen)
    app: Any = faust.App(
        chosen.name,
        broker=f"kafka://{chosen.kafka}",
        env={},
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        datadir=str(chosen.folder / "faust"),
        store="memory://",
        **SETTINGS,
    )
    topic = app.topic(
        topics.EVENTS.full_name(chosen.prefix),
        value_serializer="raw",
        key_serializer="raw",
        partitions=topics.EVENTS.partitions,
    )

    async def work(stream: Any) -> None:
        async for value in stream:
            tally.event(value)
            tally.check()

    app.agent(topic, name="count")(work)
    faust.Worker(app, loglevel="WARN", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
