"""A serving process over HTTP: every operation, batches, repeated calls, explanations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from serving_factory import Process, Shop, answers_of, reading, running

from bench.serving_schemathesis import conformance
from core.settings import Settings
from schemas import topics
from schemas.events import FeedbackGiven, Searched
from schemas.http import Explanation, Feedback, ListReply
from schemas.ids import new_id
from schemas.openapi import openapi_document
from shoploop import Client, RecommendQuestion, Refused


@pytest.fixture(scope="module")
def shop(kafka_address: str, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    home = str(tmp_path_factory.mktemp("home"))
    shop = Shop(Settings(kafka=kafka_address, topic_prefix="http.", home=home))
    shop.stock()
    shop.point(shop.version(1))
    return shop


@pytest.fixture(scope="module")
def replica(shop: Shop) -> Iterator[Process]:
    with running(shop.settings, clickhouse="http://127.0.0.1:1/shoploop") as process:
        yield process


def post(replica: Process, path: str, body: Any, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(replica.url + path, json=body, headers=named)


def test_similar_items_are_answered_like_recommendations(replica: Process) -> None:
    reply = post(replica, "/v1/similar", {"visitor_id": "v", "item_id": "a", "k": 3})
    assert reply.status_code == 200
    found = msgspec.json.decode(reply.content, type=ListReply)
    assert len(found.items) == 3
    assert "a" not in [each.item_id for each in found.items]


def test_a_session_stands_for_a_visitor_that_is_not_known(shop: Shop, replica: Process) -> None:
    with answers_of(shop.settings) as predictions:
        reply = post(replica, "/v1/recommend", {"session_id": "s-9", "k": 1})
        request_id = reply.json()["request_id"]
        answer = predictions.answers([request_id])[request_id]
    assert (answer.visitor_id, answer.session_id) == ("s-9", "s-9")


def test_each_question_of_a_batch_is_answered_or_refused_by_itself(
    shop: Shop, replica: Process
) -> None:
    good, bad = {"visitor_id": "first", "k": 2}, {"visitor_id": "first", "k": 0}
    whole = post(replica, "/v1/recommend/batch", {"requests": [good, good]})
    mixed = post(replica, "/v1/recommend/batch", {"requests": [good, bad, {"k": 1}, "x"]})
    assert (whole.status_code, mixed.status_code) == (200, 207)
    answers = mixed.json()["answers"]
    assert [each["status"] for each in answers] == [200, 400, 400, 400]
    assert answers[1]["problem"]["errors"][0]["path"] == "$.k"
    names = [each["reply"]["prediction_id"] for each in whole.json()["answers"]]
    names.append(answers[0]["reply"]["prediction_id"])
    assert len(set(names)) == 3
    with answers_of(shop.settings) as predictions:
        predictions.until(lambda seen: set(names) <= {each.prediction_id for each in seen})
    for size in (0, 101):
        reply = post(replica, "/v1/recommend/batch", {"requests": [good] * size})
        assert reply.status_code == 400


def test_a_repeated_call_gets_the_same_answer(replica: Process) -> None:
    question, key = {"visitor_id": "first"}, new_id()
    first, again = (post(replica, "/v1/recommend", question, idempotency_key=key) for _ in range(2))
    other = post(replica, "/v1/recommend", {"visitor_id": "v2"}, idempotency_key=key)
    assert first.json()["prediction_id"] == again.json()["prediction_id"]
    assert other.status_code == 422
    assert other.json()["type"] == "urn:shoploop:problem:key_reused"


def test_a_verdict_becomes_an_event(shop: Shop, replica: Process) -> None:
    answer = post(replica, "/v1/recommend", {"visitor_id": "first"}).json()
    body = {"prediction_id": answer["prediction_id"], "visitor_id": "first", "verdict": -1}
    with reading(shop.settings, topics.EVENTS) as events:
        reply = post(replica, "/v1/feedback", body)
        event_id = reply.json()["event_id"]
        events.until(lambda seen: any(each.event_id == event_id for each in seen))
    event = next(each for each in events.records if each.event_id == event_id)
    assert reply.status_code == 202
    assert isinstance(event, FeedbackGiven)
    assert (event.prediction_id, event.verdict) == (answer["prediction_id"], -1)
    assert post(replica, "/v1/feedback", {**body, "verdict": 2}).status_code == 400


def test_an_answer_is_explained_by_its_weights_and_its_history(replica: Process) -> None:
    answer = post(replica, "/v1/recommend", {"visitor_id": "first", "k": 3}).json()
    reply = httpx.get(f"{replica.url}/v1/explain/{answer['prediction_id']}")
    assert reply.status_code == 200
    found = msgspec.json.decode(reply.content, type=Explanation)
    assert found.unsaid == []
    assert found.weights_version == "shipped-1"
    for item in found.items:
        assert item.bias + sum(item.features.values()) == pytest.approx(item.score, abs=1e-4)
        assert sum(item.sources.values()) == pytest.approx(sum(item.features.values()))
        assert [each.item_id for each in item.events] == found.history


def test_only_clickhouse_could_explain_what_is_not_remembered(replica: Process) -> None:
    reply = httpx.get(f"{replica.url}/v1/explain/{new_id()}", timeout=60)
    assert reply.status_code == 503
    assert reply.headers["retry-after"] == "1"


@pytest.mark.parametrize("path", ["/v1/classify/nothing", "/v1/search"])
def test_a_task_that_is_not_served_is_not_found(replica: Process, path: str) -> None:
    body = {"visitor_id": "v", "text": "good", "query": "mug", "task": "nothing"}
    reply = post(replica, path, body)
    assert reply.status_code == 404
    assert reply.json()["type"] == "urn:shoploop:problem:unknown_task"


@pytest.mark.parametrize(
    "body",
    [
        b'{"visitor_id": "v", "diversity": NaN}',
        b'{"visitor_id": "v", "k": 1e400}',
        b'{"visitor_id": "v", "k": 99999999999999999999999999}',
        b'{"visitor_id": "\xff"}',
        b'{"visitor_id": "\\ud800"}',
        b'{"visitor_id": "v", "filters": ' + b"[" * 50_000,
        b'{"visitor_id": "v", "filters": {"price_from": Infinity}}',
        b'"\xed\xa0\x80"',
        b"null",
    ],
)
@pytest.mark.parametrize("path", ["recommend", "recommend/batch", "events", "feedback"])
def test_strange_bytes_are_the_callers_fault(replica: Process, path: str, body: bytes) -> None:
    if path == "recommend/batch":
        body = b'{"requests": [' + body + b"]}"
    reply = httpx.post(f"{replica.url}/v1/{path}", content=body)
    assert reply.status_code in (207, 400)


def test_the_document_is_the_published_one(replica: Process) -> None:
    assert httpx.get(f"{replica.url}/openapi.json").json() == openapi_document()


def test_calls_made_from_the_document_get_what_the_document_says(replica: Process) -> None:
    httpx.get(f"{replica.url}/v1/explain/nothing", timeout=60)  # from here on ClickHouse is away
    found = conformance(replica.url, examples=2, seconds=60, rounds=1)
    assert found.server_errors == 0, found.statuses
    assert found.strange == []
    assert found.calls > 40


def test_the_client_asks_a_process_and_tells_it_what_happened(replica: Process) -> None:
    with Client(replica.url) as client:
        reply = client.recommend(RecommendQuestion(visitor_id="first", k=2))
        assert client.explain(reply.prediction_id).prediction_id == reply.prediction_id
        answers = client.recommend_batch([RecommendQuestion(visitor_id="first")] * 2)
        assert [each.status for each in answers] == [200, 200]
        search = Searched(event_id=new_id(), event_time_ms=1, visitor_id="first", query="mug")
        assert client.events([search]).accepted == 1
        verdict = Feedback(prediction_id=reply.prediction_id, visitor_id="first", verdict=1.0)
        assert client.feedback(verdict).event_id
        with pytest.raises(Refused) as caught:
            client.recommend(RecommendQuestion(k=2))
    assert caught.value.problem.errors[0].path == "$.visitor_id"
