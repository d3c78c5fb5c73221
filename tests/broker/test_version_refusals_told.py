"""A replica tells `model_log` why it refused a version, and goes on answering; replicas agree."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import httpx
from serving_factory import Process, Reader, Shop, reading, running
from tampered_versions import SPOILED, Workshop

from core.canary import in_canary
from core.settings import Settings
from schemas import topics

WITHIN_S = 120.0


def _recommended(process: Process, visitor: str) -> dict[str, Any]:
    reply = httpx.post(f"{process.url}/v1/recommend", json={"visitor_id": visitor, "k": 3})
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def _reason(log: Reader, version: str, since: int) -> str:
    """The word for which a version was refused, once it is on `model_log`."""
    log.until(
        lambda said: any(
            (each.kind, each.model_version) == ("refused", version) for each in said[since:]
        )
    )
    (entry,) = (each for each in log.records[since:] if each.kind == "refused")
    return str(entry.reason.partition(":")[0])


def _until_champion(process: Process, version: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while _recommended(process, "first")["model_version"] != version:
        assert time.monotonic() < deadline, process.log.read_text()
        time.sleep(0.02)


def test_each_refusal_is_told_and_answers_go_on_from_none_to_the_last_champion(
    kafka_address: str, unique_prefix: str, tmp_path: Path
) -> None:
    shop = Shop(Settings(kafka=kafka_address, topic_prefix=unique_prefix, home=str(tmp_path)))
    shop.stock()
    workshop = Workshop(tmp_path)
    sound, other = workshop.make(1), workshop.make(2)
    champion = workshop.signed(sound, seed=99)
    backup = shutil.copytree(workshop.store.root, tmp_path / "backup")
    with running(shop.settings) as replica, reading(shop.settings, topics.MODEL_LOG) as log:
        assert _recommended(replica, "first")["degraded"] == "no_model"
        shop.point(champion)
        _until_champion(replica, champion)
        for spoil, reason in SPOILED.items():
            since, announced = len(log.records), spoil(workshop, sound, other)
            shop.point(announced)
            assert _reason(log, announced, since) == reason, spoil.__name__
            answer = _recommended(replica, "first")
            assert (answer["model_version"], answer["degraded"]) == (champion, None)
            workshop = Workshop(tmp_path)
            shutil.rmtree(workshop.store.root)
            shutil.copytree(backup, workshop.store.root)
        shop.point(other, previous=champion)
        _until_champion(replica, other)
        shop.point(champion)  # a rollback is one record
        _until_champion(replica, champion)


def test_two_replicas_send_each_visitor_to_the_same_side_of_a_canary(
    kafka_address: str, unique_prefix: str, tmp_path: Path
) -> None:
    shop = Shop(Settings(kafka=kafka_address, topic_prefix=unique_prefix, home=str(tmp_path)))
    shop.stock()
    first, second = shop.version(1), shop.version(2)
    shop.point(first, canary=second, canary_percent=50)
    with (
        running(shop.settings, "--name", "serving-1") as one,
        running(shop.settings, "--name", "serving-2") as two,
    ):
        for number in range(20):
            visitor = f"visitor-{number}"
            by = second if in_canary(visitor, second, 50) else first
            said = {_recommended(each, visitor)["model_version"] for each in (one, two)}
            assert said == {by}
