"""How soon an event is on `events.valid`, while nothing else is written and beside a backlog.

Serving follows `events.valid`, so this is the streams' part of the way from an event to a changed
list. The backlog is answers of 100 and of 300 items, written faster than the worker joins them.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import msgspec
from confluent_kafka import Producer

from adapters.kafka import Follower, group_name, producer, topic_name
from bench.streams_ground import Committed, Ground, make_topics, process, read_all, wait_for
from bench.streams_speed import say
from core.settings import Settings
from schemas import topics
from schemas.codec import encode
from schemas.events import EventItem, ItemViewed
from schemas.predictions import Prediction, Slot

ANSWERS, SIZES, VISITORS = 16_000, (100, 300), 5_000
EVERY_S = 0.02
ALONE_S, WITHIN_S = 10.0, 240.0
_KINDS = 50


class _Named(msgspec.Struct):
    event_id: str


_named = msgspec.json.Decoder(_Named).decode


class Probe:
    """Writes an event every `EVERY_S` and notes when it is on `events.valid`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sent: dict[str, float] = {}
        self._seen: dict[str, float] = {}
        self._stop = threading.Event()

    def __enter__(self) -> Probe:
        self._threads = [threading.Thread(target=each) for each in (self._read, self._write)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def delays(self, since_s: float, until_s: float) -> list[float]:
        """Milliseconds each event of these moments took, in order; one not seen took until now."""
        now_s = time.monotonic()
        return sorted(
            (self._seen.get(name, now_s) - at_s) * 1e3
            for name, at_s in list(self._sent.items())
            if since_s <= at_s < until_s
        )

    def _write(self) -> None:
        client, number = producer(self._settings, linger_ms=0), 0
        while not self._stop.wait(EVERY_S):
            event = ItemViewed(
                event_id=f"probe{number}",
                event_time_ms=time.time_ns() // 1_000_000,
                visitor_id=f"probe{number % 97}",
                items=[EventItem(item_id="i1")],
            )
            self._sent[event.event_id] = time.monotonic()
            client.produce(
                topic_name(self._settings, topics.EVENTS), encode(event), event.visitor_id
            )
            client.poll(0)
            number += 1
        client.flush(10)

    def _read(self) -> None:
        follower = Follower(self._settings, (topics.EVENTS_VALID,))
        while not self._stop.is_set():
            for _, message in follower.poll(0.05):
                self._seen[_named(message.value() or b"{}").event_id] = time.monotonic()
        follower.close()


def event_delay(ground: Ground, answers: int = ANSWERS) -> dict[str, Any]:
    """p50, p99 and most in milliseconds, alone and beside the backlog, and how long that lasted."""
    settings = ground.settings("fresh")
    make_topics(ground, [settings.topic_prefix], topics.ALL)
    log = ground.folder / "fresh.log"
    with process(["-m", "streams"], ground.environ(settings), log) as worker:
        if not wait_for(lambda: bool(read_all(settings, topics.PROGRESS)), worker, 60):
            raise RuntimeError(f"the worker did not get ready: {log.read_text()[-500:]}")
        with Probe(settings) as probe:
            time.sleep(2.0)
            began_s = time.monotonic()
            time.sleep(ALONE_S)
            burst_s = time.monotonic()
            _write_backlog(settings, answers)
            joined_s = _joined(ground, settings)
            time.sleep(ALONE_S)  # what it wrote down of them
            alone, beside = probe.delays(began_s, burst_s), probe.delays(burst_s, time.monotonic())
    say(f"backlog of {answers:,} answers joined in {joined_s - burst_s:.1f} s")
    found = {**_quantiles("alone", alone), **_quantiles("beside_backlog", beside)}
    return {**found, "joined_s": round(joined_s - burst_s, 1), "answers": answers}


def _joined(ground: Ground, settings: Settings) -> float:
    """When the worker had committed all of the answers."""
    names = {topic_name(settings, topics.PREDICTIONS): topics.PREDICTIONS.partitions}
    group = Committed(ground.kafka, group_name(settings, "streams.visitors"), names)
    wanted, deadline = group.wanted(), time.monotonic() + WITHIN_S
    while group.total() < wanted:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the worker is behind after {WITHIN_S:.0f} s")
        time.sleep(0.05)
    group.close()
    return time.monotonic()


def _write_backlog(settings: Settings, answers: int) -> None:
    chance = random.Random(7)
    client, name = producer(settings, linger_ms=20), topic_name(settings, topics.PREDICTIONS)
    kinds = [_slots(SIZES[kind % len(SIZES)], chance) for kind in range(_KINDS)]
    for number in range(answers):
        answer = Prediction(
            prediction_id=f"p{number}",
            request_id=f"r{number}",
            visitor_id=f"v{chance.randrange(VISITORS)}",
            task="recommend",
            surface="home",
            served_at_ms=time.time_ns() // 1_000_000,
            policy="loop",
            arm="champion",
            model_version="v1",
            weights_version="w",
            slots=kinds[number % _KINDS],
        )
        _produce(client, name, encode(answer), answer.visitor_id)
    client.flush(60)


def _produce(client: Producer, name: str, value: bytes, key: str) -> None:
    while True:
        try:
            client.produce(name, value, key)
            return
        except BufferError:
            client.poll(0.05)


def _slots(count: int, chance: random.Random) -> list[Slot]:
    return [
        Slot(
            item_id=f"i{chance.randrange(100_000):06d}",
            position=position,
            score=chance.random(),
            source="own",
            features=[round(chance.random(), 4) for _ in range(8)],
        )
        for position in range(1, count + 1)
    ]


def _quantiles(name: str, delays: list[float]) -> dict[str, Any]:
    p50, p99, most = (delays[min(int(len(delays) * q), len(delays) - 1)] for q in (0.5, 0.99, 1))
    say(f"event to events.valid, {name}: p50 {p50:.0f}, p99 {p99:.0f}, most {most:.0f} ms")
    return {f"{name}_ms": {"p50": round(p50, 1), "p99": round(p99, 1), "most": round(most, 1)}}
