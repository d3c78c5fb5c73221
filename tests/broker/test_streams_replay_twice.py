"""The same topics give the same metrics, alarms and decisions, however they are worked through."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from streams_factory import HOUR_MS, START_MS, Shop, Worker, answer, purchase

from core.settings import Settings
from schemas import topics
from schemas.codec import encode
from tests.unit.stage_factory import publish

DECIDED = (topics.METRICS, topics.DRIFT, topics.RETRAIN, topics.MODEL_LOG, topics.MODELS)
READ = (topics.OUTCOMES, topics.WEIGHTS, topics.PROGRESS, *DECIDED)
DAYS, A_DAY, EVERY_HOURS = 24, 40, 6
END_MS = START_MS + (DAYS + 4) * 24 * HOUR_MS
_IN_WALL_TIME = {"announced_wall_ms"}  # and offsets count the markers of however many transactions
_IN_OFFSETS = {"offsets"}


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
    shop = Shop(settings, READ)
    shop.barrier(-1, START_MS - 1)  # from here on barriers say what is closed, not the clock
    offer = publish("v1", START_MS)
    shop.send(topics.COMMANDS, "recommend", encode(offer))
    with Worker(settings) as worker:
        write(shop, 0, DAYS // 2)
        between(shop)
        write(shop, DAYS // 2, DAYS)
        shop.barrier(10_000, END_MS, final=True)
        shop.read_until(shop.passed(END_MS))
        assert worker.stop() == 0
    shop.close()
    return {topic.name: _lines(shop, topic.name) for topic in READ if topic != topics.PROGRESS}


def _lines(shop: Shop, name: str) -> list[bytes]:
    found = []
    for message in shop.messages[name]:
        fields = msgspec.json.decode(message.value() or b"{}")
        for field in _IN_WALL_TIME | _IN_OFFSETS:
            fields.pop(field, None)
        found.append(msgspec.json.encode(fields))
    return sorted(found) if name == "outcomes" else found  # two partitions: no order between them


@pytest.fixture
def settings(kafka_address: str, unique_prefix: str, tmp_path: Path) -> Callable[[str], Settings]:
    return lambda name: Settings(
        kafka=kafka_address, topic_prefix=f"{unique_prefix}{name}.", home=str(tmp_path / name)
    )


def test_two_workers_and_a_rebalance_give_what_one_gives_byte_for_byte(
    settings: Callable[[str], Settings],
) -> None:
    alone = run(settings("alone"), lambda _: None)

    def rebalance(shop: Shop) -> None:
        half_ms = START_MS + DAYS * 12 * HOUR_MS - 1
        second = msgspec.structs.replace(shop.settings, name="second")
        with Worker(second, "visitors") as other:
            write_again = START_MS + 6 * HOUR_MS
            shop.read_until(shop.passed(write_again))
            assert other.stop() == 0
        shop.read_until(shop.passed(half_ms))

    shared = run(settings("shared"), rebalance)
    for name, lines in shared.items():
        assert lines == alone[name], name
    said = b"".join(alone["drift"])
    assert b'"concept"' in said
    assert b'"accepted"' in b"".join(alone["retrain"])
    assert alone["models"]
    assert len(alone["metrics"]) > 500
