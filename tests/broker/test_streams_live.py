"""The stream worker in live time: no barriers, the wall clock, and a second worker that joins."""

import time
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from streams_factory import HOUR_MS, Shop, Worker, answer, purchase, visit

from core.settings import Settings
from schemas import topics
from schemas.codec import REASON_HEADER, encode
from schemas.metrics import Metric

READ = (
    topics.OUTCOMES,
    topics.EVENTS_VALID,
    topics.PROGRESS,
    topics.METRICS,
    topics.refused(topics.EVENTS),
    topics.refused(topics.PREDICTIONS),
)
WINDOW_MS = 2_000
PURCHASES = 30


@pytest.fixture
def settings(kafka_address: str, unique_prefix: str, tmp_path: Path) -> Settings:
    return Settings(
        kafka=kafka_address,
        topic_prefix=unique_prefix,
        home=str(tmp_path),
        purchase_window_ms=WINDOW_MS,
        orphan_skew_ms=500,
    )


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def finals(shop: Shop) -> dict[str, list[str]]:
    return {each.prediction_id: each.basket for each in shop.outcomes() if each.age == "final"}


def test_a_quiet_shop_still_gets_its_outcomes_on_any_surface(settings: Settings) -> None:
    shop = Shop(settings, READ)
    again = {"surface": "buy_again"}
    with Worker(settings) as worker:
        shop.read_until(lambda: len(shop.messages["progress"]) >= 2)
        shop.send(topics.PREDICTIONS, "v", encode(answer("p1-loop", "v", now_ms())))
        for name, slots in (("p2-loop", None), ("p3-loop", [])):
            served = replace(answer(name, "v", now_ms()), **again)
            if slots is not None:
                served = replace(served, slots=slots)
            shop.send(topics.PREDICTIONS, "v", encode(served))
        shop.send(topics.EVENTS, "v", encode(purchase("e1", "v", now_ms() + 50, "p1-loop")))
        ahead = purchase("e2", "v", now_ms() + HOUR_MS, None)
        shop.send(topics.EVENTS, "v", encode(ahead))
        # An answer of next year, from a clock that is wrong, would end every open window.
        stray = answer("p4-loop", "v", now_ms() + 8_760 * HOUR_MS)
        shop.send(topics.PREDICTIONS, "v", encode(stray))
        shop.read_until(lambda: len(finals(shop)) == 3)
        assert worker.stop() == 0
    shop.close()
    assert finals(shop) == {name: ["a", "x"] for name in ("p1-loop", "p2-loop", "p3-loop")}
    by_surface = {each.prediction_id: each.surface for each in shop.outcomes()}
    assert by_surface == {"p1-loop": "home", "p2-loop": "buy_again", "p3-loop": "buy_again"}
    (refused,) = shop.messages["events.dlq"]
    (stray_one,) = shop.messages["predictions.dlq"]
    for each in (refused, stray_one):
        assert dict(each.headers() or [])[REASON_HEADER] == b"future"


def test_a_purchase_stands_in_a_figure_at_once(settings: Settings) -> None:
    shop = Shop(settings, READ)
    decode = msgspec.json.Decoder(Metric).decode
    delays_ms: list[float] = []

    def bought() -> int:
        rows = [decode(message.value() or b"") for message in shop.messages["metrics"]]
        now = [row for row in rows if (row.age, row.name) == ("now", "purchase_rate")]
        return round(now[-1].value * now[-1].n) if now else 0

    with Worker(settings) as worker:
        shop.read_until(lambda: len(shop.messages["progress"]) >= 2)
        for number in range(PURCHASES):
            name, visitor = f"p{number}-loop", f"v{number}"
            shop.send(topics.PREDICTIONS, visitor, encode(answer(name, visitor, now_ms() - 50)))
            time.sleep(0.05 + number % 7 / 20)
            began_s = time.monotonic()
            event = purchase(f"e{number}", visitor, now_ms(), name)
            shop.send(topics.EVENTS, visitor, encode(event))
            shop.read_until(lambda number=number: bought() > number)  # type: ignore[misc]
            delays_ms.append(1_000 * (time.monotonic() - began_s))
        assert worker.stop() == 0
    shop.close()
    print("purchase to row, ms:", sorted(round(each) for each in delays_ms))
    assert sorted(delays_ms)[PURCHASES // 2] < 1_000


def test_a_worker_that_joins_and_leaves_shares_the_partitions(settings: Settings) -> None:
    shop = Shop(settings, READ)
    other = msgspec.structs.replace(settings, name="second")
    names: list[str] = []

    def shop_on(until: int) -> None:
        while len(names) < until:
            number = len(names)
            names.extend(visit(shop, number, f"v{number}", now_ms()))
        shop.read_until(lambda: len(finals(shop)) == len(names))

    with Worker(settings) as first:
        shop_on(40)
        with Worker(other, "visitors") as second:
            shop_on(80)
            assert second.stop() == 0
        shop_on(120)
        assert first.stop() == 0
    shop.close()
    assert sorted(finals(shop)) == sorted(names)
    statements = [(each.prediction_id, each.version) for each in shop.outcomes()]
    assert len(set(statements)) == len(statements)
