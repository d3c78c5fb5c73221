"""The same topics give the same metrics, alarms and decisions, however they are worked through."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from confluent_kafka.admin import AdminClient
from streams_factory import HOUR_MS, START_MS, WITHIN_S, Shop, Worker, answer, progress, purchase

from adapters import kafka
from core.settings import Settings
from schemas import topics
from schemas.codec import encode
from schemas.topics import Topic
from tests.unit.stage_factory import order, publish

DECIDED = (topics.METRICS, topics.DRIFT, topics.RETRAIN, topics.MODEL_LOG, topics.MODELS)
SAID = (topics.OUTCOMES, topics.EVENTS_VALID, topics.WEIGHTS, topics.ALERTS, *DECIDED)
DAYS, A_DAY, EVERY_HOURS = 24, 40, 6
END_MS = START_MS + (DAYS + 4) * 24 * HOUR_MS
_NOT_EVENT_TIME = ("announced_wall_ms", "offsets")


def write(shop: Shop, from_day: int, to_day: int) -> None:
    """Days of a shop whose answers hit seven times in ten, and twice in ten from day 12 on."""
    for day in range(from_day, to_day):
        chance = random.Random(day)
        for part in range(24 // EVERY_HOURS):
            began_ms = START_MS + (day * 24 + part * EVERY_HOURS) * HOUR_MS
            for number in range(A_DAY * EVERY_HOURS // 24):
                _visit(shop, f"{day}-{part}-{number}", began_ms, chance, 0.7 if day < 12 else 0.2)
            barrier = day * 24 // EVERY_HOURS + part
            shop.barrier(barrier, began_ms + EVERY_HOURS * HOUR_MS - 1)


def _visit(shop: Shop, name: str, began_ms: int, chance: random.Random, rate: float) -> None:
    visitor, at_ms = f"v{chance.randrange(60)}", began_ms + chance.randrange(HOUR_MS)
    shown = msgspec.structs.replace(answer(f"p{name}-loop", visitor, at_ms), model_version="v1")
    shop.send(topics.PREDICTIONS, visitor, encode(shown))
    bought = purchase(f"e{name}", visitor, at_ms + 60_000, shown.prediction_id)
    if chance.random() >= rate:
        items = [msgspec.structs.replace(bought.items[1], item_id="elsewhere")]
        bought = msgspec.structs.replace(bought, items=items)
    late_ms = 5 * HOUR_MS if chance.random() < 0.05 else 0
    moved = msgspec.structs.replace(bought, event_time_ms=bought.event_time_ms - late_ms)
    for _ in range(1 + (chance.random() < 0.05)):
        shop.send(topics.EVENTS, visitor, encode(moved))


def run(settings: Settings, between: Callable[[Shop], None]) -> dict[str, list[bytes]]:
    """What the streams make of the shop's days; `between` happens when half of them are written."""
    shop = Shop(settings, (topics.PROGRESS,))
    shop.barrier(-1, START_MS - 1)  # from here on barriers say what is closed, not the clock
    with Worker(settings) as worker:
        _begin(shop)
        write(shop, 0, DAYS // 2)
        between(shop)
        write(shop, DAYS * 3 // 4, DAYS)
        shop.barrier(10_000, END_MS, final=True)
        shop.read_until(shop.passed(END_MS))
        assert worker.stop() == 0
    shop.close()
    return {topic.name: _lines(settings, topic) for topic in SAID}


def _end_of(day: int) -> int:
    """The last barrier of the days up to this one."""
    return START_MS + day * 24 * HOUR_MS - 1


def _wait_for_members(settings: Settings, count: int) -> None:
    """Until so many workers share the partitions of the visitor stage."""
    admin = AdminClient({"bootstrap.servers": settings.kafka})
    name = kafka.group_name(settings, "streams.visitors")
    deadline = time.monotonic() + WITHIN_S
    while True:
        (future,) = admin.describe_consumer_groups([name]).values()
        members = [m for m in future.result(WITHIN_S).members if m.assignment.topic_partitions]
        if len(members) == count:
            return
        assert time.monotonic() < deadline, "the second worker did not join in time"
        time.sleep(0.05)


def _begin(shop: Shop) -> None:
    """Offers the first version, and waits for it as a replay does; the order brings a close."""
    shop.read_until(shop.passed(START_MS - 1))
    for command in (publish("v1", START_MS - 1), order("unpin")):
        shop.send(topics.COMMANDS, "recommend", encode(command))
    shop.read_until(lambda: any(progress(m).live for m in shop.messages["progress"]))


def _lines(settings: Settings, topic: Topic) -> list[bytes]:
    """The whole topic, less what tells of the clock and of how many transactions there were."""
    reader = kafka.Follower(settings, [topic])
    found = []
    for _, message in reader.catch_up(WITHIN_S):
        fields = msgspec.json.decode(message.value() or b"{}")
        for field in _NOT_EVENT_TIME:
            fields.pop(field, None)
        found.append(msgspec.json.encode(fields))
    reader.close()
    # No order holds between partitions.
    return sorted(found) if topic.partitions > 1 else found


@pytest.fixture
def settings(kafka_address: str, unique_prefix: str, tmp_path: Path) -> Callable[[str], Settings]:
    return lambda name: Settings(
        kafka=kafka_address, topic_prefix=f"{unique_prefix}{name}.", home=str(tmp_path / name)
    )


def test_two_workers_and_a_rebalance_give_what_one_gives_byte_for_byte(
    settings: Callable[[str], Settings],
) -> None:
    alone = run(settings("alone"), lambda shop: write(shop, DAYS // 2, DAYS * 3 // 4))

    def rebalance(shop: Shop) -> None:
        second = msgspec.structs.replace(shop.settings, name="second")
        with Worker(second, "visitors") as other:
            _wait_for_members(shop.settings, 2)
            write(shop, DAYS // 2, DAYS * 3 // 4)
            shop.read_until(shop.passed(_end_of(DAYS // 2)))
            assert other.stop() == 0
        shop.read_until(shop.passed(_end_of(DAYS * 3 // 4)))

    shared = run(settings("shared"), rebalance)
    for name, lines in shared.items():
        assert lines == alone[name], name
    said = b"".join(alone["drift"])
    assert b'"concept"' in said
    assert b'"accepted"' in b"".join(alone["retrain"])
    assert alone["models"]
    assert len(alone["metrics"]) > 500
