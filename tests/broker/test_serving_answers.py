"""Serving on a real broker: answers over Kafka and HTTP, events over HTTP, refused requests."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from serving_factory import (
    Process,
    Shop,
    answers_of,
    progress_of,
    reading,
    running,
    wall_ms,
)

from adapters.kafka import topic_name
from core.settings import Settings
from schemas import topics
from schemas.codec import REASON_HEADER
from schemas.events import PurchaseMade
from schemas.items import Item
from schemas.predictions import Filters

HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def shop(kafka_address: str, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    home = str(tmp_path_factory.mktemp("home"))
    rules = Path(home) / "rules.toml"
    rules.write_text("[[block]]\nitems = ['nothing of ours']")
    settings = Settings(kafka=kafka_address, topic_prefix="answers.", home=home, rules=str(rules))
    shop = Shop(settings)
    shop.stock()
    shop.point(shop.version(1))
    return shop


@pytest.fixture(scope="module")
def replica(shop: Shop) -> Iterator[Process]:
    with running(shop.settings, "--name", "serving-1") as process:
        yield process


def test_request_over_kafka_is_answered_by_the_champion(shop: Shop, replica: Process) -> None:
    with answers_of(shop.settings) as predictions:
        request_id = shop.ask("first")
        shop.flush()
        answer = predictions.answers([request_id])[request_id]
    assert answer.arm == "champion"
    assert len(answer.slots) == 3
    assert answer.model_version in shop.names
    assert answer.weights_version == "shipped-1"
    assert answer.context.history == ["a", "b", "c", "d", "e", "f"]
    assert answer.served_by == "serving-1"


def test_buying_again_lists_what_was_bought_and_nothing_to_who_never_bought(
    shop: Shop, replica: Process
) -> None:
    with answers_of(shop.settings) as predictions:
        asked = [shop.ask(visitor, surface="buy_again", k=9) for visitor in ("first", "nobody")]
        shop.flush()
        found = predictions.answers(asked)
    known, unknown = (found[request_id] for request_id in asked)
    assert {slot.item_id for slot in known.slots} == {"a", "b", "c", "d", "e", "f"}
    assert (known.surface, known.weights_version) == ("buy_again", "shipped-1")
    assert unknown.slots == []


def test_answer_to_an_http_reply_comes_to_the_topic(shop: Shop, replica: Process) -> None:
    reply = httpx.post(f"{replica.url}/v1/recommend", json={"visitor_id": "first", "k": 2})
    assert reply.status_code == 200
    body = reply.json()
    assert [item["position"] for item in body["items"]] == [1, 2]
    assert body["items"][0]["title"].startswith("Item ")
    with answers_of(shop.settings) as predictions:
        (logged,) = predictions.answers([body["request_id"]]).values()
    assert logged.prediction_id == body["prediction_id"]


def test_request_over_kafka_is_answered_within_its_filters_and_the_newest_rules(
    shop: Shop, replica: Process
) -> None:
    for number in range(4):
        item = Item(
            item_id=f"kettle-{number}", updated_at_ms=1_000, category="Home/Kitchen", price=number
        )
        shop.write(topics.ITEMS, item.item_id, item)
    deleted = Item(item_id="kettle-9", updated_at_ms=1_000, category="Home/Kitchen", price=1)
    shop.write(topics.ITEMS, deleted.item_id, deleted)
    shop.producer.produce(topic_name(shop.settings, topics.ITEMS), None, deleted.item_id)
    filters = Filters(categories=["Home"], price_to=2.5)
    rules = Path(shop.settings.rules)
    rules.write_text("[[block]]\nitems = ['kettle-1']\n")
    expected = {"kettle-0", "kettle-2"}
    name = hashlib.sha256(rules.read_bytes()).hexdigest()[:16]
    with answers_of(shop.settings) as predictions:
        listed: set[str] = set()
        deadline = time.monotonic() + 120
        while listed != expected:
            assert time.monotonic() < deadline, listed
            request_id = shop.ask("first", filters=filters)
            shop.flush()
            answer = predictions.answers([request_id])[request_id]
            listed = {slot.item_id for slot in answer.slots}
            assert listed <= {*expected, "kettle-1", deleted.item_id}
    assert (answer.context.filters, answer.context.rules) == (filters, name)
    assert "rules_files_total" in httpx.get(f"{replica.url}/metrics").text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "malformed"),
        (b'{"k": 3}', "invalid"),
        (b'{"visitor_id": "v", "k": 1000}', "invalid"),
        (b'{"visitor_id": "v", "task": "search"}', "unknown_task"),
        (b'{"visitor_id": "v", "as_of_ms": 1000}', "as_of_ms"),
        (b"", "empty"),
    ],
)
def test_bad_question_over_http_is_a_problem(replica: Process, body: bytes, reason: str) -> None:
    reply = httpx.post(f"{replica.url}/v1/recommend", content=body)
    assert reply.status_code == 400
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["type"] == f"urn:shoploop:problem:{reason}"


def test_body_above_the_limit_is_refused(replica: Process) -> None:
    reply = httpx.post(f"{replica.url}/v1/events", content=b" " * 1_100_000)
    assert reply.status_code == 413
    assert reply.headers["content-type"] == "application/problem+json"


def test_refused_request_goes_to_the_dead_letters_untouched(shop: Shop, replica: Process) -> None:
    broken = b'{"kind": "recommend", "request_id": "r", "k": "three"}'
    with reading(shop.settings, topics.refused(topics.REQUESTS)) as refused:
        shop.write(topics.REQUESTS, "v", broken)
        shop.flush()
        refused.until(lambda _: any(m.value() == broken for m in refused.messages))
        letter = next(m for m in refused.messages if m.value() == broken)
    assert dict(letter.headers() or [])[REASON_HEADER] == b"invalid"
    assert letter.key() == b"v"


def test_posted_events_reach_the_topic_and_bad_ones_are_named(shop: Shop, replica: Process) -> None:
    good = {
        "event_name": "purchase",
        "event_id": "posted-1",
        "event_time_ms": wall_ms(),
        "visitor_id": "first",
        "transaction_id": "t-1",
        "items": [{"item_id": "a"}],
    }
    with reading(shop.settings, topics.EVENTS) as events:
        reply = httpx.post(f"{replica.url}/v1/events", json=[good, {**good, "items": []}])
        events.until(lambda records: any(each.event_id == "posted-1" for each in records))
    assert reply.status_code == 207
    assert reply.json()["accepted"] == 1
    assert [error["index"] for error in reply.json()["errors"]] == [1]
    assert isinstance(events.records[0], PurchaseMade)
    assert events.messages[0].key() == b"first"
    assert httpx.post(f"{replica.url}/v1/events", json=good).status_code == 202
    assert httpx.post(f"{replica.url}/v1/events", json=[{}]).status_code == 400
    mark = {"event_name": "watermark", "event_time_ms": 1, "barrier": 1, "run_id": "r"}
    assert httpx.post(f"{replica.url}/v1/events", json=mark).status_code == 400


def test_metrics_tell_answers_version_and_lag(shop: Shop, replica: Process) -> None:
    expected = (
        'shoploop_serving_answers_total{arm="champion"',
        "shoploop_serving_latency_seconds_bucket",
        'shoploop_serving_model_info{role="champion",version="',
        'shoploop_serving_kafka_lag{topic="requests"}',
    )
    deadline = time.monotonic() + 120
    text = ""
    while not all(part in text for part in expected):
        assert time.monotonic() < deadline, text
        text = httpx.get(f"{replica.url}/metrics").text


def test_barriers_hold_events_back_until_they_close(kafka_address: str, tmp_path: Path) -> None:
    settings = Settings(kafka=kafka_address, topic_prefix="barriers.", home=str(tmp_path))
    shop = Shop(settings)
    shop.stock()
    shop.point(shop.version(1))
    start = 1_300_000_000_000
    with (
        running(settings) as replica,
        reading(settings, topics.PROGRESS) as progress,
        answers_of(settings) as predictions,
    ):
        shop.barrier(start, 0)
        shop.buy("late", "f", at_ms=start + 10)
        shop.flush()
        mine = progress_of("serving-1")
        progress.until(lambda r: any(each.watermark_ms == start for each in mine(r)))
        before = shop.ask("late", as_of_ms=start + 20)
        shop.flush()
        predictions.answers([before])
        shop.barrier(start + HOUR_MS, 1)
        passed = progress.until(
            lambda r: any(each.watermark_ms == start + HOUR_MS for each in mine(r))
        )
        url = f"{replica.url}/v1/recommend"
        question = {"visitor_id": "late", "as_of_ms": start + HOUR_MS + 1, "k": 3}
        assert httpx.post(url, json=question).status_code == 200
        after = shop.ask("late", as_of_ms=start + HOUR_MS + 1)
        shop.flush()
        answers = predictions.answers([before, after])
        shop.barrier(start + 2 * HOUR_MS, 2, final=True)
        progress.until(lambda r: any(each.barrier == 2 for each in mine(r)))
        assert httpx.post(url, json=question).status_code == 400
        assert replica.stop() == 0
    assert answers[before].context.history == []
    assert answers[after].context.history == ["f"]
    assert answers[after].served_at_ms == start + HOUR_MS + 1
    newest = [each for each in passed if each.process == "serving-1"][-1]
    assert (newest.run_id, list(newest.live)) == ("run", ["recommend"])
