"""A worker that is killed, or loses its memory, neither loses nor repeats anything."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from streams_factory import HOUR_MS, START_MS, Shop, Worker, visit

from core.settings import Settings
from schemas import topics

READ = (topics.OUTCOMES, topics.EVENTS_VALID, topics.PROGRESS, topics.SLOTS)
END_MS = START_MS + 200 * HOUR_MS


@pytest.fixture
def shop(kafka_address: str, unique_prefix: str, tmp_path: Path) -> Shop:
    settings = Settings(kafka=kafka_address, topic_prefix=unique_prefix, home=str(tmp_path))
    return Shop(settings, READ)


def write(shop: Shop, numbers: range) -> list[str]:
    """Visits an hour apart with a barrier after each; the ids of their answers."""
    names = []
    for number in numbers:
        at_ms = START_MS + number * HOUR_MS
        names += visit(shop, number, f"v{number % 7}", at_ms)
        shop.barrier(number, at_ms + HOUR_MS // 2)
    return names


def check(shop: Shop, names: list[str]) -> None:
    """Every answer is final once, every statement is made once, every event is passed on once."""
    finals = Counter(each.prediction_id for each in shop.outcomes() if each.age == "final")
    assert finals == Counter(names)
    statements = Counter((each.prediction_id, each.version) for each in shop.outcomes())
    assert set(statements.values()) == {1}
    events = Counter(
        message.value()
        for message in shop.messages["events.valid"]
        if b'"purchase"' in (message.value() or b"")
    )
    assert set(events.values()) == {1}
    assert len(events) == len(names) // 2
    assert len(shop.judged()) == len(shop.outcomes())


def test_killed_three_times_each_answer_is_final_once(shop: Shop) -> None:
    with Worker(shop.settings) as worker:
        names = write(shop, range(20))
        for until in (5, 10, 15):
            wanted = START_MS + until * HOUR_MS
            shop.read_until(lambda wanted=wanted: shop.passed(wanted)())  # type: ignore[misc]
            names += write(shop, range(until + 15, until + 20))
            worker.kill()
            worker.start()
        shop.barrier(99, END_MS, final=True)
        shop.read_until(shop.passed(END_MS))
        assert worker.stop() == 0
    shop.close()
    check(shop, names)


@pytest.mark.parametrize("lost", ["local", "local and snapshots"])
def test_memory_that_is_lost_is_stepped_again_in_silence(shop: Shop, lost: str) -> None:
    home = Path(shop.settings.home)
    names = write(shop, range(30))
    with Worker(shop.settings) as worker:
        shop.read_until(shop.passed(START_MS + 29 * HOUR_MS))
        assert worker.stop() == 0
        shutil.rmtree(home / "streams")
        if lost == "local and snapshots":
            shutil.rmtree(home / "artefacts")
        names += write(shop, range(30, 40))
        worker.start()
        shop.barrier(99, END_MS, final=True)
        shop.read_until(shop.passed(END_MS))
        assert worker.stop() == 0
    shop.close()
    check(shop, names)
