"""Resident memory of a worker of both stages that has nothing to remember."""

from __future__ import annotations

import time

import psutil

from bench.streams_ground import Ground, make_topics, process, read_all, wait_for
from schemas import topics

_SETTLES_S = 3.0


def worker_rss_mb(ground: Ground) -> float:
    """Megabytes (10^6 bytes) of `python -m streams` once both stages have said they are there."""
    settings = ground.settings("memory")
    make_topics(ground, [settings.topic_prefix], topics.ALL)
    log = ground.folder / "memory.log"

    def both() -> bool:
        said = b"".join(message.value() or b"" for message in read_all(settings, topics.PROGRESS))
        return b"streams.visitors" in said and b"streams.tasks" in said

    with process(["-m", "streams"], ground.environ(settings), log) as worker:
        if not wait_for(both, worker, 60):
            raise RuntimeError(f"the worker did not get ready: {log.read_text()[-500:]}")
        time.sleep(_SETTLES_S)
        resident: int = psutil.Process(worker.pid).memory_info().rss
        return round(resident / 1e6, 1)
