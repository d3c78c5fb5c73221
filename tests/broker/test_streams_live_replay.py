"""What was closed while a shop was live is what a replay of its topics closes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from streams_factory import WITHIN_S, Shop, Worker, progress, visit

from adapters import kafka
from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder
from schemas.metrics import Metric
from schemas.outcomes import Outcome

WINDOW_MS = 2_000
VISITS, EVERY_MS, BARRIER_MS = 40, 100, 1_000


@pytest.fixture
def settings(kafka_address: str, unique_prefix: str, tmp_path: Path) -> Settings:
    return Settings(
        kafka=kafka_address,
        topic_prefix=unique_prefix,
        home=str(tmp_path / "live"),
        purchase_window_ms=WINDOW_MS,
        orphan_skew_ms=500,
        metric_window_ms=WINDOW_MS,
        label_ages="",
    )


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def whole(settings: Settings, topic: topics.Topic) -> list[Any]:
    """Every record of a topic, with its key and bytes."""
    reader = kafka.Follower(settings, [topic])
    found = [message for _, message in reader.catch_up(WITHIN_S)]
    reader.close()
    return found


def closed(settings: Settings) -> dict[tuple[object, ...], tuple[object, ...]]:
    """The figures of closed windows; how often they had been revised before is the clock's."""
    decode = Decoder(Metric)
    rows = [decode(message.value()) for message in whole(settings, topics.METRICS)]
    return {
        (r.surface, r.policy, r.arm, r.age, r.name, r.window_start_ms): (
            r.value,
            r.n,
            r.low,
            r.high,
        )
        for r in rows
        if r.closed
    }


def finals(settings: Settings) -> dict[str, bytes]:
    decode = msgspec.json.Decoder(Outcome).decode
    said = [(decode(m.value()), m.value()) for m in whole(settings, topics.OUTCOMES)]
    return {each.prediction_id: value for each, value in said if each.age == "final"}


def live(settings: Settings) -> None:
    """A shop by the wall clock, until all its windows are closed."""
    shop = Shop(settings, (topics.PROGRESS,))
    with Worker(settings) as worker:
        shop.read_until(lambda: len(shop.messages["progress"]) >= 2)
        due_ms = now_ms()
        for number in range(VISITS):
            shop.read_until(lambda due_ms=due_ms: now_ms() >= due_ms)  # type: ignore[misc]
            visit(shop, number, f"v{number % 9}", now_ms())
            due_ms += EVERY_MS
        end_ms = now_ms() + 2 * WINDOW_MS + 2 * settings.metric_window_ms
        shop.read_until(
            lambda: any(
                progress(m).watermark_ms >= end_ms and progress(m).process == "streams.tasks"
                for m in shop.messages["progress"]
            )
        )
        assert worker.stop() == 0
    shop.close()


def replay(recorded: Settings, settings: Settings) -> None:
    """The recorded topics again, a barrier a second."""
    inputs = [(topics.EVENTS, m) for m in whole(recorded, topics.EVENTS)]
    inputs += [(topics.PREDICTIONS, m) for m in whole(recorded, topics.PREDICTIONS)]
    timed = sorted(((_time(m.value()), topic.name, m) for topic, m in inputs), key=lambda t: t[:2])
    shop = Shop(settings, (topics.PROGRESS,))
    barrier_ms, number = timed[0][0] - 1, 0
    shop.barrier(number, barrier_ms)
    for at_ms, name, message in timed:
        while at_ms > barrier_ms + BARRIER_MS:
            barrier_ms, number = barrier_ms + BARRIER_MS, number + 1
            shop.barrier(number, barrier_ms)
        shop.send(topics.BY_NAME[name], (message.key() or b"").decode(), message.value())
    end_ms = timed[-1][0] + 3_600_000
    shop.barrier(number + 1, end_ms, final=True)
    with Worker(settings) as worker:
        shop.read_until(shop.passed(end_ms))
        assert worker.stop() == 0
    shop.close()


def _time(value: bytes) -> int:
    fields = msgspec.json.decode(value)
    return int(fields.get("event_time_ms") or fields["served_at_ms"])


def test_a_recorded_live_run_replays_to_the_same_closed_figures(settings: Settings) -> None:
    live(settings)
    again = msgspec.structs.replace(
        settings,
        topic_prefix=settings.topic_prefix + "again.",
        home=settings.home + "-again",
    )
    replay(settings, again)
    assert finals(again) == finals(settings)
    assert len(finals(settings)) == 2 * VISITS
    then, now = closed(settings), closed(again)
    assert {key: (then[key], now.get(key)) for key in then if now.get(key) != then[key]} == {}
    assert now.keys() == then.keys()
    assert len(now) > 50
