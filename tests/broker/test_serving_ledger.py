"""Every answer that was given is on `predictions` exactly once, whatever is killed when."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from serving_factory import Process, Reader, Shop, answers_of, running

from adapters.kafka import ensure_topics, topic_name
from core.settings import Settings
from schemas import topics
from schemas.errors import BadSettings, Unavailable
from serving.direct import Direct
from serving.ledger import Ledger, spool_folder
from serving.outbox import Outgoing

KILLS = 2


def _records(settings: Settings, *names: str) -> list[Outgoing]:
    topic = topic_name(settings, topics.PREDICTIONS)
    return [Outgoing(topic, b"v", name.encode(), [("ce_id", name.encode())]) for name in names]


@pytest.fixture
def settings(kafka_address: str, unique_prefix: str, tmp_path: Path) -> Settings:
    made = Settings(kafka=kafka_address, topic_prefix=unique_prefix, home=str(tmp_path))
    ensure_topics(made)
    return made


@contextmanager
def _sending(ledger: Ledger) -> Iterator[list[Exception]]:
    """The ledger's thread runs meanwhile; what it raised is in the list afterwards."""
    failures: list[Exception] = []

    def run() -> None:
        try:
            ledger.run()
        except Unavailable as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield failures
    finally:
        ledger.finish()
        thread.join(timeout=60)
        assert not thread.is_alive()


class _Bytes(Reader):
    def values(self, count: int) -> list[str]:
        """The first `count` values, and what came with them."""
        self.until(lambda _: len(self.messages) >= count)
        return [(message.value() or b"").decode() for message in self.messages]


@contextmanager
def _values(settings: Settings) -> Iterator[_Bytes]:
    reader = _Bytes(settings, topics.PREDICTIONS, dict)
    try:
        yield reader
    finally:
        reader.close()


def _quoted(*names: object) -> list[str]:
    return [f'{{"n":"{name}"}}' for name in names]


def test_what_a_former_life_left_is_sent_and_nothing_twice(settings: Settings) -> None:
    first = Ledger(settings, "serving-1")
    first.put(_records(settings, *_quoted("a", "b")))  # killed before anything was sent
    first.close()
    second = Ledger(settings, "serving-1")
    assert second.waiting.records == 2
    with _sending(second) as failures:
        second.put(_records(settings, *_quoted("c")))
    second.close()
    assert failures == []
    # As if the kill had come between the broker's commit and the note of it.
    (spool_folder(settings, "serving-1") / "done").unlink()
    third = Ledger(settings, "serving-1")
    assert third.waiting.records == 3
    with _sending(third):
        third.put(_records(settings, *_quoted("d")))
    third.close()
    with _values(settings) as reader:
        assert reader.values(4) == _quoted("a", "b", "c", "d")


def test_newcomer_of_the_same_name_takes_over_and_the_young_one_ends(settings: Settings) -> None:
    elsewhere = Settings(
        kafka=settings.kafka, topic_prefix=settings.topic_prefix, home=settings.home + "/other"
    )
    with pytest.raises(BadSettings, match="in use"), _held(settings):
        Ledger(settings, "serving-1")
    old, new = Ledger(settings, "serving-1"), Ledger(elsewhere, "serving-1")
    with _sending(old) as failures, _values(settings) as reader:
        old.put(_records(settings, *_quoted("a")))
        reader.values(1)
        with _sending(new):
            new.put(_records(settings, *_quoted("b")))
            reader.values(2)
            old.put(_records(settings, *_quoted("c")))
            deadline = time.monotonic() + 120
            while not failures:
                assert time.monotonic() < deadline
                time.sleep(0.01)
    assert old.waiting.records == 1
    old.close()
    new.close()


@contextmanager
def _held(settings: Settings) -> Iterator[None]:
    ledger = Ledger(settings, "serving-1")
    try:
        yield
    finally:
        ledger.close()


def _asking(process: Process, answered: list[str], stop: threading.Event) -> None:
    """Asks until told to stop; remembers what was answered with 200."""
    body = {"visitor_id": "first", "k": 3}
    with httpx.Client(timeout=60) as client:
        while not stop.is_set():
            try:
                reply = client.post(f"{process.url}/v1/recommend", json=body)
            except httpx.TransportError:
                return
            if reply.status_code == 200:
                answered.append(reply.json()["prediction_id"])


def test_every_200_is_logged_once_over_kills(
    kafka_address: str, unique_prefix: str, tmp_path: Path
) -> None:
    shop = Shop(Settings(kafka=kafka_address, topic_prefix=unique_prefix, home=str(tmp_path)))
    shop.stock()
    shop.point(shop.version(1))
    answered: list[str] = []
    for life in range(KILLS + 1):
        with running(shop.settings) as process:
            stop, before = threading.Event(), len(answered)
            load = [
                threading.Thread(target=_asking, args=(process, answered, stop)) for _ in range(3)
            ]
            for each in load:
                each.start()
            deadline = time.monotonic() + 120
            while len(answered) < before + 40 + 7 * life:
                assert time.monotonic() < deadline, process.log.read_text()
                time.sleep(0.002)
            if life < KILLS:
                process.kill()
            stop.set()
            for each in load:
                each.join(timeout=60)
            if life == KILLS:
                assert process.stop() == 0
    with answers_of(shop.settings) as predictions:
        for _, message in predictions._follower.catch_up(120):
            predictions.records.append(predictions._decode(message.value() or b""))
        given = [each.prediction_id for each in predictions.records]
    assert len(set(answered)) == len(answered)
    assert set(answered) <= set(given)
    assert len(given) == len(set(given))


def test_while_the_disk_refuses_the_broker_has_each_record_before_its_answer(
    settings: Settings,
) -> None:
    blocked = Path(settings.home) / "serving"
    blocked.write_text("")
    ledger = Ledger(settings, "serving-1")
    ledger._direct = Direct(within_s=60.0)
    with _sending(ledger) as failures, _values(settings) as reader:
        ledger.put(_records(settings, *_quoted("a")))
        assert ledger.is_refused
        assert reader.values(1) == _quoted("a")
        blocked.unlink()
        ledger._opened_s = float("-inf")  # it is time to try again
        deadline = time.monotonic() + 120
        while ledger.is_refused:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        ledger.put(_records(settings, *_quoted("b")))
        assert reader.values(2) == _quoted("a", "b")
    assert failures == []
    ledger.close()


def test_a_replica_starts_and_answers_where_the_disk_refuses_and_says_so(
    settings: Settings,
) -> None:
    shop = Shop(settings)
    shop.stock()
    (Path(settings.home) / "serving").write_text("")
    with running(settings) as process, answers_of(settings) as predictions:
        body = {"visitor_id": "first", "k": 3}
        deadline = time.monotonic() + 120
        while (
            reply := httpx.post(f"{process.url}/v1/recommend", json=body, timeout=60)
        ).status_code != 200:
            assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
            assert time.monotonic() < deadline
        health = httpx.get(f"{process.url}/healthz").json()
        assert health["degraded"] == ["spool", "state"]
        assert 'disk_missing{part="spool"} 1.0' in httpx.get(f"{process.url}/metrics").text
        given = reply.json()["prediction_id"]
        predictions.until(lambda found: given in [each.prediction_id for each in found])
        assert process.stop() == 0
