"""How soon what a shopper does shows in the figures, in live time and under a steady load.

From just before a click is handed to the producer until the first row on `metrics` that counts it
reaches a reader, and until a query in ClickHouse sees that row. Rows carry totals, so that the k-th
click of a cell is in the first row that counts k: each partition's answers have a model version,
and so a cell, of their own, which keeps its clicks in order. Beside it: from a statement on
`outcomes` to the row at the same label age.
"""

from __future__ import annotations

import math
import random
import threading
import time
from bisect import bisect_left
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import msgspec

from adapters.clickhouse import connected
from adapters.kafka import Follower, producer, topic_name
from adapters.tables_migrate import migrate
from bench.streams_ground import Ground, make_topics, process, read_all, wait_for
from bench.streams_speed import say
from core.settings import Settings
from schemas import topics
from schemas.codec import encode
from schemas.events import EventItem, ItemSelected, ItemViewed
from schemas.metrics import Metric
from schemas.outcomes import Outcome
from schemas.predictions import Prediction, Slot
from schemas.watermarks import Progress

RATE = 40
"""Answers a second; half of them are clicked, each is followed by two views of other items."""
_WINDOW_MS = 10_000
_CLICK_AFTER_S = (0.3, 1.5)
_WARM_S = 3.0
_SETTLE_S = 8.0
_PROCESSES = {"streams.visitors", "streams.tasks", "sink"}
_LIVE_AGE, _LABEL_AGE = "now", "final"
_SQL = (
    "SELECT model_version, max(toUInt64(round(value * n))) FROM metrics "
    "WHERE name = 'ctr' AND age = 'now' GROUP BY model_version"
)


@dataclass
class Growth:
    """When a total was seen to be how large; both only grow."""

    at_s: list[float] = field(default_factory=list)
    totals: list[int] = field(default_factory=list)

    def saw(self, total: int, at_s: float) -> None:
        """Notes a total that is larger than all before."""
        if not self.totals or total > self.totals[-1]:
            self.totals.append(total)
            self.at_s.append(at_s)

    def since(self, moments_s: list[float]) -> list[float]:
        """Milliseconds from the k-th moment until the total was k or more, if it ever was.

        >>> growth = Growth([1.0, 2.0], [1, 3])
        >>> growth.since([0.5, 1.5, 1.75, 1.8])
        [500.0, 500.0, 250.0, inf]
        """
        found = []
        for rank, began_s in enumerate(moments_s, 1):
            place = bisect_left(self.totals, rank)
            counted_s = self.at_s[place] if place < len(self.totals) else math.inf
            found.append((counted_s - began_s) * 1_000)
        return found


class Shop:
    """Answers and clicks by the wall clock, on partitions of its own choice."""

    def __init__(self, settings: Settings, seed: int = 7) -> None:
        self._settings = settings
        self._chance = random.Random(seed)
        self._producer = producer(settings, linger_ms=0)
        self.clicks: dict[str, list[float]] = {}

    def run(self, seconds: float) -> None:
        """Keeps the rate for so long; then only the clicks that are due still come."""
        due: list[tuple[float, int, Prediction]] = []
        began_s, number = time.monotonic(), 0
        while number < seconds * RATE or due:
            now_s = time.monotonic()
            if number < seconds * RATE and now_s >= began_s + number / RATE:
                answer = self._answer(number)
                after_s = self._chance.uniform(*_CLICK_AFTER_S)
                due.append((now_s + after_s, number, answer))
                number += 1
            ready = [each for each in due if each[0] <= now_s]
            due = [each for each in due if each[0] > now_s]
            for _, which, answer in ready:
                self._follow(which, answer)
            self._producer.poll(0)
            time.sleep(0.002)
        self._producer.flush()

    def _answer(self, number: int) -> Prediction:
        partition = number % topics.VISITOR_PARTITIONS
        answer = Prediction(
            prediction_id=f"p{number}",
            request_id=f"r{number}",
            visitor_id=f"v{number % 5_000}",
            task="recommend",
            surface="home",
            served_at_ms=_wall_ms(),
            policy="loop",
            arm="champion",
            model_version=f"live-{partition}",
            weights_version="w",
            slots=[Slot(item_id=f"i{i}", position=i, score=1.0) for i in range(1, 11)],
        )
        self._send(topics.PREDICTIONS, partition, answer.visitor_id, encode(answer))
        return answer

    def _follow(self, number: int, answer: Prediction) -> None:
        partition = number % topics.VISITOR_PARTITIONS
        head: dict[str, Any] = {"event_time_ms": _wall_ms(), "visitor_id": answer.visitor_id}
        for i in range(2):
            seen = ItemViewed(
                event_id=f"e{number}-{i}", items=[EventItem(item_id=f"x{number}")], **head
            )
            self._send(topics.EVENTS, partition, answer.visitor_id, encode(seen))
        if self._chance.random() < 0.5:
            shown = EventItem(item_id="i3", prediction_id=answer.prediction_id)
            click = encode(ItemSelected(event_id=f"e{number}", items=[shown], **head))
            self.clicks.setdefault(answer.model_version, []).append(time.time())
            self._send(topics.EVENTS, partition, answer.visitor_id, click)

    def _send(self, topic: topics.Topic, partition: int, key: str, value: bytes) -> None:
        self._producer.produce(topic_name(self._settings, topic), value, key, partition=partition)


def metric_delay(ground: Ground, seconds: float) -> dict[str, Any]:
    """p50 and p99 in milliseconds, with how many clicks they rest on."""
    _ = ground.clickhouse
    settings = ground.settings("delay", purchase_window_ms=_WINDOW_MS, orphan_skew_ms=1_000)
    make_topics(ground, [settings.topic_prefix], topics.ALL)
    with connected(settings.clickhouse) as client:
        migrate(client)
    environ = ground.environ(settings)
    logs = ground.folder / "delay"
    with (
        process(["-m", "streams", "sink"], environ, logs / "sink.log") as sink,
        process(["-m", "streams"], environ, logs / "worker.log") as worker,
    ):
        if not wait_for(lambda: _all_ready(settings), worker, 60):
            raise RuntimeError("worker and sink did not get ready")
        time.sleep(_WARM_S)
        found = _observed(settings, seconds)
        if worker.poll() is not None or sink.poll() is not None:
            raise RuntimeError("a process ended by itself")
    return found


def _all_ready(settings: Settings) -> bool:
    """Whether both stages and the sink have said that they are."""
    decode = msgspec.json.Decoder(Progress).decode
    said = (decode(message.value() or b"") for message in read_all(settings, topics.PROGRESS))
    return {each.process for each in said if each.ready} >= _PROCESSES


def _observed(settings: Settings, seconds: float) -> dict[str, Any]:
    shop, stop = Shop(settings), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        rows = pool.submit(_read_rows, settings, stop)
        seen = pool.submit(_ask_tables, settings, stop)
        try:
            shop.run(seconds)
            time.sleep(_SETTLE_S + _WINDOW_MS / 1_000)
        finally:
            stop.set()
        live, statements, labelled = rows.result()
        tables = seen.result()
    return {
        **_quantiles("metric_delay", _delays(shop.clicks, live)),
        **_quantiles("metric_delay_clickhouse", _delays(shop.clicks, tables)),
        **_quantiles("metric_delay_label", _delays(statements, labelled)),
        "metric_delay_clicks": sum(map(len, shop.clicks.values())),
    }


def _read_rows(
    settings: Settings, stop: threading.Event
) -> tuple[dict[str, Growth], dict[str, list[float]], dict[str, Growth]]:
    """Totals of clicks at the live age, statements with their moments, totals of labelled lists."""
    live: dict[str, Growth] = {}
    labelled: dict[str, Growth] = {}
    statements: dict[str, list[float]] = {}
    metric, outcome = msgspec.json.Decoder(Metric).decode, msgspec.json.Decoder(Outcome).decode
    follower = Follower(settings, (topics.METRICS, topics.OUTCOMES))
    while not stop.is_set():
        for name, message in follower.poll(0.05):
            if name == topics.OUTCOMES.name:
                said = outcome(message.value() or b"")
                if said.age == _LABEL_AGE:
                    moment_s = message.timestamp()[1] / 1_000
                    statements.setdefault(said.model_version, []).append(moment_s)
                continue
            row = metric(message.value() or b"")
            if row.name == "ctr" and row.age == _LIVE_AGE:
                growth = live.setdefault(row.model_version, Growth())
                growth.saw(round(row.value * row.n), time.time())
            elif row.name == "ctr" and row.age == _LABEL_AGE:
                labelled.setdefault(row.model_version, Growth()).saw(row.n, time.time())
    follower.close()
    return live, statements, labelled


def _ask_tables(settings: Settings, stop: threading.Event) -> dict[str, Growth]:
    found: dict[str, Growth] = {}
    with connected(settings.clickhouse) as client:
        while not stop.wait(0.1):
            for version, clicked in client.query_rows(_SQL):
                found.setdefault(str(version), Growth()).saw(int(clicked), time.time())
    return found


def _delays(moments: dict[str, list[float]], growth: dict[str, Growth]) -> list[float]:
    return [
        delay
        for version, began in moments.items()
        for delay in growth.get(version, Growth()).since(began)
    ]


def _quantiles(name: str, delays: list[float]) -> dict[str, Any]:
    """p50 and p99, none where that many were never counted; and how many were."""
    counted = sum(map(math.isfinite, delays))
    ordered = sorted(delays) or [math.inf]
    p50, p99 = (_finite(ordered[min(int(len(ordered) * q), len(ordered) - 1)]) for q in (0.5, 0.99))
    say(f"{name}: p50 {p50} ms, p99 {p99} ms, most {ordered[-1]:.0f} ms; {counted} counted")
    return {f"{name}_ms_p50": p50, f"{name}_ms_p99": p99, f"{name}_n": counted}


def _finite(delay: float) -> float | None:
    return round(delay, 1) if math.isfinite(delay) else None


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
