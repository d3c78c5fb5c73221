"""SIGKILL at random moments of the worker and of the sink while a scripted shop runs.

A few worlds side by side, each with topics, a database, a worker and a sink of its own: a killed
worker's place in its group is free again only after its session, which worlds wait out together.
Moments are drawn from a seed; most come while work is going on, some during the start.
"""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from adapters.clickhouse import connected
from adapters.kafka import Follower, group_name, topic_name
from adapters.tables import SUNK, TABLES
from adapters.tables_migrate import migrate
from adapters.tables_progress import sunk_offsets
from bench.streams_ground import Committed, Ground, Sender, end, make_topics, process, read_all
from bench.streams_join import join_facts
from bench.streams_recompute import metrics_differ
from bench.streams_shop import Arrival, Barrier, Traffic, arrivals, with_barriers
from bench.streams_speed import say
from core.settings import DAY_MS, HOUR_MS, Settings
from schemas import topics
from schemas.watermarks import Progress

_SPEED = 4_800
"""Event time over wall time: a barrier of two hours every second and a half."""
_STEP_MS = 120_000
_BARRIER_MS = 2 * HOUR_MS
_LONGEST_S = 1.5
_AT_THE_START = 0.25
_PROGRESS_WITHIN_S = 90.0
_PROGRESS = msgspec.json.Decoder(Progress)


@dataclass
class World:
    """One shop, its worker and its sink."""

    settings: Settings
    counts: dict[str, int] = field(default_factory=lambda: {"worker": 0, "sink": 0})
    end_ms: int = 0


def kills(ground: Ground, total: int, worlds: int = 3, seed: int = 7) -> dict[str, Any]:
    """Kills `total` times in all and says what was lost, what is there twice, what differs."""
    _ = ground.clickhouse
    shops = [World(ground.settings(f"kills{number}")) for number in range(worlds)]
    make_topics(ground, [each.settings.topic_prefix for each in shops], topics.ALL)
    share = -(-total // (2 * worlds))
    with ThreadPoolExecutor(worlds) as pool:
        found = list(
            pool.map(
                lambda pair: _world(ground, pair[1], share, random.Random(seed * 1000 + pair[0])),
                enumerate(shops),
            )
        )
    for each in found:
        say(f"world: {each}")
    return summed(found)


def summed(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The worlds' figures as one.

    >>> summed([{"kills": 2, "lost": 0, "duplicated": 1, "metrics_differ": 0, "metrics": 9}])
    {'kills': 2, 'lost': 0, 'duplicated': 1, 'metrics_equal': True, 'metrics_compared': 9}
    """
    metrics = sum(each["metrics"] for each in found)
    return {
        "kills": sum(each["kills"] for each in found),
        "lost": sum(each["lost"] for each in found),
        "duplicated": sum(each["duplicated"] for each in found),
        "metrics_equal": metrics > 0 and not any(each["metrics_differ"] for each in found),
        "metrics_compared": metrics,
    }


def _world(ground: Ground, world: World, share: int, chance: random.Random) -> dict[str, Any]:
    settings = world.settings
    with connected(settings.clickhouse) as client:
        migrate(client)
    stop = threading.Event()
    with ThreadPoolExecutor(3) as pool:
        writer = pool.submit(_write, world, chance.randrange(1 << 30), stop)
        try:
            killers = [
                pool.submit(_kill, ground, world, share, random.Random(chance.random()), what)
                for what in ("worker", "sink")
            ]
            for killer in killers:
                killer.result()
        finally:
            stop.set()
        writer.result()
    _drain(ground, world)
    return _verdict(world)


def _write(world: World, seed: int, stop: threading.Event) -> None:
    """Writes visits and barriers as wall time goes on; ends with a final barrier."""
    sender = Sender(world.settings, [world.settings.topic_prefix], linger_ms=5)
    traffic = Traffic(1_000_000, visitors=2_000, step_ms=_STEP_MS, seed=seed)
    began_s, at_ms, number = time.monotonic(), traffic.start_ms, 0
    for record in with_barriers(arrivals(traffic, answers=True), _BARRIER_MS, traffic.end_ms):
        at_ms = record.at_ms if isinstance(record, Arrival) else at_ms
        due_s = began_s + (at_ms - traffic.start_ms) / 1_000 / _SPEED
        while not stop.is_set() and (wait_s := due_s - time.monotonic()) > 0:
            stop.wait(min(wait_s, 0.05))
        if stop.is_set():
            break
        number += isinstance(record, Barrier)
        sender.send(record)
    world.end_ms = at_ms + 3 * DAY_MS
    sender.send(Barrier(number, world.end_ms, True))
    sender.flush()


def _kill(ground: Ground, world: World, share: int, chance: random.Random, what: str) -> None:
    with _position(world.settings, what) as position:
        for _ in range(share):
            before = position()
            with _running(ground, world.settings, what) as child:
                if chance.random() >= _AT_THE_START:
                    _wait(lambda before=before: position() > before, child)  # type: ignore[misc]
                time.sleep(chance.uniform(0, _LONGEST_S))
                if child.poll() is not None:
                    raise RuntimeError(f"the {what} ended by itself: status {child.returncode}")
                child.kill()
                child.wait()
                world.counts[what] += 1


@contextmanager
def _position(settings: Settings, what: str) -> Iterator[Callable[[], int]]:
    """How far the worker has committed, or the sink has stored."""
    if what == "sink":
        with connected(settings.clickhouse) as client:
            yield lambda: sum(sunk_offsets(client).values())
        return
    inputs = (topics.EVENTS, topics.PREDICTIONS)
    names = {topic_name(settings, topic): topic.partitions for topic in inputs}
    group = Committed(settings.kafka, group_name(settings, "streams.visitors"), names)
    try:
        yield group.total
    finally:
        group.close()


@contextmanager
def _running(ground: Ground, settings: Settings, what: str) -> Iterator[subprocess.Popen[bytes]]:
    arguments = ["-m", "streams"] if what == "worker" else ["-m", "streams", "sink"]
    log = ground.folder / f"{settings.topic_prefix}{what}.log"
    with process(arguments, ground.environ(settings), log) as child:
        yield child


def _wait(holds: Callable[[], bool], child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PROGRESS_WITHIN_S
    while not holds():
        if child.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"no progress; the process's status is {child.poll()}")
        time.sleep(0.05)


def _drain(ground: Ground, world: World) -> None:
    """Lets a worker and a sink go on to the end of everything, and stops them as one should."""
    settings = world.settings
    with ExitStack() as stack:
        sink = stack.enter_context(_running(ground, settings, "sink"))
        worker = stack.enter_context(_running(ground, settings, "worker"))
        follower = Follower(settings, (topics.PROGRESS,))
        stack.callback(follower.close)
        reached = False

        def passed() -> bool:
            nonlocal reached
            for _, message in follower.poll(0.05):
                said = _PROGRESS.decode(message.value() or b"{}")
                ended = said.process == "streams.tasks" and said.watermark_ms >= world.end_ms
                reached = reached or ended
            return reached

        _wait(passed, worker)
        if end(worker) != 0:
            raise RuntimeError("the worker did not stop cleanly")
        with connected(settings.clickhouse) as client:
            wanted = {topic.name: len(read_all(settings, topic)) for topic in SUNK}

            def stored() -> bool:
                rows = rows_of(client, settings)
                return all(rows.get(name, (0, 0))[0] >= n for name, n in wanted.items())

            _wait(stored, sink)


def rows_of(client: Any, settings: Settings) -> dict[str, tuple[int, int]]:
    """Rows of each topic in all tables, quarantine included, and of how many records they are."""
    union = " UNION ALL ".join(
        f"SELECT _topic, _topic_id, _partition, _offset FROM `{table.name}`" for table in TABLES
    )
    found = client.query_rows(
        f"SELECT _topic, count(), uniqExact(_topic_id, _partition, _offset) FROM ({union}) "
        "GROUP BY _topic"
    )
    bare = {topic_name(settings, topic): topic.name for topic in SUNK}
    return {bare[name]: (int(rows), int(records)) for name, rows, records in found}


def _verdict(world: World) -> dict[str, Any]:
    settings = world.settings
    joined = join_facts(settings)
    with connected(settings.clickhouse) as client:
        rows = rows_of(client, settings)
    lost, twice = joined["lost"] + joined["unknown"], joined["twice"]
    for topic in SUNK:
        readable = len(read_all(settings, topic))
        stored, records = rows.get(topic.name, (0, 0))
        lost += abs(readable - records)
        twice += stored - records
    compared, differ = metrics_differ(settings)
    return {
        "kills": sum(world.counts.values()),
        "killed": world.counts,
        "lost": lost,
        "duplicated": twice,
        "metrics": compared,
        "metrics_differ": differ,
        "rows": sum(stored for stored, _ in rows.values()),
        **{name: joined[name] for name in ("answers", "statements", "events")},
    }
