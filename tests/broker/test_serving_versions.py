"""Versions and replicas on a real broker: swaps under load, refusals, late joiners, crashes."""

import threading
import time
from pathlib import Path

import httpx
from serving_factory import (
    Process,
    Shop,
    answers_of,
    progress_of,
    reading,
    running,
    versions,
    wall_ms,
)

from core.canary import in_canary
from core.settings import Settings
from schemas import topics
from schemas.models import ModelLog

GRAPH = "sequence.onnx"


def _shop(address: str, prefix: str, home: Path) -> Shop:
    shop = Shop(Settings(kafka=address, topic_prefix=prefix, home=str(home)))
    shop.stock()
    return shop


def _knocking(process: Process, stop: threading.Event, replies: list[httpx.Response]) -> None:
    with httpx.Client() as client:
        while not stop.is_set():
            body = {"visitor_id": "first", "k": 3}
            replies.append(client.post(f"{process.url}/v1/recommend", json=body))


def _another(replies: list[httpx.Response], load: threading.Thread) -> None:
    """Returns once the load has had one more reply, or has ended."""
    known, deadline = len(replies), time.monotonic() + 120.0
    while len(replies) == known and load.is_alive():
        assert time.monotonic() < deadline, "no reply to the load in 120 s"
        time.sleep(0.005)


def test_swap_under_load_fails_no_request_and_mixes_no_versions(
    kafka_address: str, unique_prefix: str, tmp_path: Path
) -> None:
    shop = _shop(kafka_address, unique_prefix, tmp_path)
    first, second = shop.version(1), shop.version(2)
    shop.point(first)
    replies: list[httpx.Response] = []
    stop = threading.Event()
    with (
        running(shop.settings) as replica,
        answers_of(shop.settings) as predictions,
        reading(shop.settings, topics.MODEL_LOG) as log,
    ):
        load = threading.Thread(target=_knocking, args=(replica, stop, replies))
        load.start()
        _another(replies, load)
        asked = [shop.ask("first") for _ in range(40)]
        shop.flush()
        shop.point(second)
        asked += [shop.ask("first") for _ in range(40)]
        shop.flush()
        log.until(lambda records: any(_is(each, "swapped", second) for each in records))
        asked += [shop.ask("first") for _ in range(40)]
        shop.flush()
        answers = predictions.answers(asked)
        _another(replies, load)
        stop.set()
        load.join()
        ids = [reply.json()["request_id"] for reply in replies]
        everything = predictions.answers(ids).values()
    assert {reply.status_code for reply in replies} == {200}
    for answer in [*answers.values(), *everything]:
        assert answer.weights_version == shop.names[answer.model_version]
    assert answers[asked[-1]].model_version == second
    swap = next(each for each in log.records if _is(each, "swapped", second))
    assert swap.process == "serving-1"
    assert swap.announce_to_swap_ms is not None
    assert 0 <= swap.announce_to_swap_ms < 5_000


def test_canary_answers_its_share_of_visitors_and_no_one_after_it_was_stopped(
    kafka_address: str, unique_prefix: str, tmp_path: Path
) -> None:
    shop = _shop(kafka_address, unique_prefix, tmp_path)
    first, second = shop.version(1), shop.version(2)
    visitors, mine = [f"visitor-{number}" for number in range(40)], progress_of("serving-1")
    shop.point(first, challenger=second, canary=second, canary_percent=25)
    with (
        running(shop.settings),
        answers_of(shop.settings) as predictions,
        reading(shop.settings, topics.PROGRESS) as progress,
    ):
        under_way = {"recommend": f"{second} 25%"}
        progress.until(lambda said: any(each.canary == under_way for each in mine(said)))
        asked = {visitor: shop.ask(visitor) for visitor in visitors}
        shop.flush()
        split = predictions.answers(list(asked.values()))
        shop.point(first)
        progress.until(lambda said: not mine(said)[-1].canary)
        after = {visitor: shop.ask(visitor) for visitor in visitors}
        shop.flush()
        whole = predictions.answers(list(after.values()))
    for visitor, request_id in asked.items():
        by = second if in_canary(visitor, second, 25) else first
        assert split[request_id].model_version == by
    assert {answer.model_version for answer in split.values()} == {first, second}
    assert {answer.model_version for answer in whole.values()} == {first}


def test_tampered_version_is_refused_and_the_champion_stays(
    kafka_address: str, unique_prefix: str, tmp_path: Path
) -> None:
    shop = _shop(kafka_address, unique_prefix, tmp_path)
    good, tampered = shop.version(1), shop.version(2)
    path = versions.path_of(shop.store, tampered, GRAPH)
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    shop.point(good)
    with (
        running(shop.settings),
        answers_of(shop.settings) as predictions,
        reading(shop.settings, topics.MODEL_LOG) as log,
    ):
        shop.point(tampered)
        log.until(lambda records: any(_is(each, "refused", tampered) for each in records))
        asked = shop.ask("first")
        shop.flush()
        answer = predictions.answers([asked])[asked]
    refused = next(each for each in log.records if each.kind == "refused")
    assert refused.reason.startswith("digest_mismatch: ")
    assert answer.model_version == good


def test_weights_out_of_bounds_leave_the_last_good_ones(
    kafka_address: str, unique_prefix: str, tmp_path: Path
) -> None:
    shop = _shop(kafka_address, unique_prefix, tmp_path)
    shop.point(shop.version(1))
    mine = progress_of("serving-1")
    with (
        running(shop.settings),
        answers_of(shop.settings) as predictions,
        reading(shop.settings, topics.PROGRESS) as progress,
    ):
        shop.weigh("w-good", 0.5)
        shop.weigh("w-bad", 1e9)
        shop.weigh("w-other", 0.5, surface="discover")
        progress.until(lambda r: any("recommend/discover" in each.weights for each in mine(r)))
        asked = shop.ask("first")
        shop.flush()
        answer = predictions.answers([asked])[asked]
    assert mine(progress.records)[-1].weights["recommend/home"] == "w-good"
    assert answer.weights_version == "w-good"


def test_without_a_model_answers_are_popular_items_and_say_so(
    kafka_address: str, unique_prefix: str, tmp_path: Path
) -> None:
    shop = _shop(kafka_address, unique_prefix, tmp_path)
    with running(shop.settings), answers_of(shop.settings) as predictions:
        asked = shop.ask("nobody", k=6)
        shop.flush()
        answer = predictions.answers([asked])[asked]
    assert (answer.arm, answer.degraded) == ("fallback", "no_model")
    assert sorted(slot.item_id for slot in answer.slots) == ["a", "b", "c", "d", "e", "f"]


def test_late_joiner_and_restarted_replica_answer_like_the_first(
    kafka_address: str, unique_prefix: str, tmp_path: Path
) -> None:
    shop = _shop(kafka_address, unique_prefix, tmp_path)
    shop.point(shop.version(3))
    for number in range(20):
        shop.buy(f"v{number % 3}", "abcdef"[number % 6], at_ms=wall_ms() - 50_000 + number)
    shop.flush()
    with running(shop.settings, "--name", "serving-1") as first:
        one = _items(first, "v1")
        assert first.stop() == 0
    assert (tmp_path / "serving" / "serving-1" / "state").exists()
    shop.buy("v1", "e", at_ms=wall_ms())
    shop.flush()
    with (
        running(shop.settings, "--name", "serving-1") as restarted,
        running(shop.settings, "--name", "serving-2") as late,
        reading(shop.settings, topics.PROGRESS) as progress,
    ):
        progress.until(lambda r: {"serving-1", "serving-2"} <= {each.process for each in r})
        assert _items(restarted, "v1") == _items(late, "v1")
        health = [httpx.get(f"{each.url}/healthz").json() for each in (restarted, late)]
    assert health[0] == health[1]
    assert len(one) == 6


def test_killed_replica_leaves_every_request_answered_once(
    kafka_address: str, unique_prefix: str, tmp_path: Path
) -> None:
    shop = _shop(kafka_address, unique_prefix, tmp_path)
    shop.point(shop.version(1))
    with answers_of(shop.settings) as predictions:
        with running(shop.settings, "--name", "serving-1") as doomed:
            asked = [shop.ask(f"v{number}") for number in range(50)]
            shop.flush()
            predictions.until(lambda _: len(predictions.served()) >= 10)
            asked += [shop.ask(f"v{number}") for number in range(50)]
            shop.flush()
            doomed.kill()
        with running(shop.settings, "--name", "serving-2"):
            predictions.answers(asked)
    assert {len(predictions.served()[request_id]) for request_id in asked} == {1}


def _is(entry: ModelLog, kind: str, version: str) -> bool:
    return entry.kind == kind and entry.model_version == version


def _items(process: Process, visitor: str) -> list[str]:
    body = {"visitor_id": visitor, "k": 6, "request_id": "same"}
    reply = httpx.post(f"{process.url}/v1/recommend", json=body)
    return [item["item_id"] for item in reply.json()["items"]]
