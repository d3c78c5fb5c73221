"""The client: what is sent, what is sent again, and how errors come back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import httpx
import pytest

from schemas.events import Searched
from schemas.http_routes import BY_NAME
from shoploop import (
    AsyncClient,
    Busy,
    ClassifyQuestion,
    Client,
    Feedback,
    RecommendQuestion,
    Refused,
    SearchQuestion,
    SimilarQuestion,
    Unreachable,
)
from shoploop.calls import Attempt, pause_s

HEAD = {
    "request_id": "r",
    "prediction_id": "p",
    "model_version": "m",
    "arm": "champion",
    "degraded": None,
}
ITEMS = [{"item_id": "a", "title": "A", "position": 1, "score": 0.5, "price": None}]
EXPLAINED = {
    **HEAD, "task": "t", "surface": "home", "served_at_ms": 1, "policy": "loop",
    "weights_version": "w", "history": [], "items": [], "unsaid": [],
}  # fmt: skip
REPLIES = {
    "recommend": {**HEAD, "items": ITEMS},
    "similar": {**HEAD, "items": ITEMS},
    "search": {**HEAD, "items": ITEMS, "corrected_query": "mug"},
    "classify/tone": {**HEAD, "labels": [{"label": "good", "score": 0.9}], "value": None},
    "events": {"accepted": 1, "errors": []},
    "feedback": {"event_id": "e"},
    "explain/p-1": EXPLAINED,
}


class Server:
    """Answers as serving would, after as many failures as it is told."""

    def __init__(self, *failures: httpx.Response | Exception) -> None:
        self.failures = list(failures)
        self.seen: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return failure
        name = request.url.path.removeprefix("/v1/")
        if name.endswith("/batch"):
            reply = REPLIES[name.removesuffix("/batch")]
            asked = len(json.loads(request.content)["requests"])
            return httpx.Response(207, json={"answers": [{"status": 200, "reply": reply}] * asked})
        return httpx.Response(200, json=REPLIES[name])


def client(server: Server, **options: str) -> Client:
    return Client("http://shop", transport=httpx.MockTransport(server), **options)  # type: ignore[arg-type]


def problem(status: int, **headers: str) -> httpx.Response:
    body = {"type": "urn:shoploop:problem:x", "title": "X", "status": status, "detail": "why"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, json=body, headers=named)


CALLS: dict[str, Callable[[Client], object]] = {
    "recommend": lambda c: c.recommend(RecommendQuestion(visitor_id="v")),
    "recommend_batch": lambda c: c.recommend_batch([RecommendQuestion(visitor_id="v")] * 2),
    "similar": lambda c: c.similar(SimilarQuestion(visitor_id="v", item_id="a")),
    "similar_batch": lambda c: c.similar_batch([SimilarQuestion(visitor_id="v", item_id="a")]),
    "search": lambda c: c.search(SearchQuestion(visitor_id="v", query="mgu")),
    "search_batch": lambda c: c.search_batch([SearchQuestion(visitor_id="v", query="mgu")]),
    "classify": lambda c: c.classify("tone", ClassifyQuestion(visitor_id="v", text="fine")),
    "classify_batch": lambda c: c.classify_batch("tone", [ClassifyQuestion(text="fine")]),
    "events": lambda c: c.events(
        [Searched(event_id="e", event_time_ms=1, visitor_id="v", query="mug")]
    ),
    "feedback": lambda c: c.feedback(Feedback(prediction_id="p", verdict=1.0, visitor_id="v")),
    "explain": lambda c: c.explain("p-1"),
}
MACHINES = {"healthz", "metrics", "openapi"}


def test_every_operation_but_those_for_machines_has_a_method() -> None:
    assert CALLS.keys() == BY_NAME.keys() - MACHINES
    for name in CALLS:
        assert callable(getattr(Client, name))
        assert callable(getattr(AsyncClient, name))


@pytest.mark.parametrize("name", CALLS)
def test_each_method_calls_its_operation_and_reads_its_reply(name: str) -> None:
    server = Server()
    with client(server, key="k") as made:
        reply = CALLS[name](made)
    (request,) = server.seen
    operation = BY_NAME[name]
    path = operation.path.format(task="tone", prediction_id="p-1")
    assert (request.method, request.url.path) == (operation.method, path)
    assert request.headers["authorization"] == "Bearer k"
    assert reply


def test_the_async_client_makes_the_same_calls() -> None:
    server = Server(httpx.ConnectError("refused"))

    async def ask() -> str:
        transport = httpx.MockTransport(server)
        async with AsyncClient("http://shop", transport=transport) as made:
            reply = await made.recommend(RecommendQuestion(visitor_id="v"))
            batch = await made.search_batch([SearchQuestion(visitor_id="v", query="q")])
            assert batch[0].reply is not None
            assert batch[0].reply.corrected_query == "mug"
            return reply.items[0].item_id

    assert asyncio.run(ask()) == "a"
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    "failure", [problem(503), problem(429), problem(409), httpx.ReadTimeout("slow")]
)
def test_what_may_pass_is_sent_again_under_the_same_key(
    failure: httpx.Response | Exception,
) -> None:
    server = Server(failure, failure)
    with client(server) as made:
        assert made.recommend(RecommendQuestion(visitor_id="v")).prediction_id == "p"
    keys = [request.headers["idempotency-key"] for request in server.seen]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    with client(server) as made:
        made.recommend(RecommendQuestion(visitor_id="v"))
    assert server.seen[-1].headers["idempotency-key"] != keys[0]


def test_what_will_not_pass_is_not_sent_again() -> None:
    for status in (400, 401, 404, 422, 504):
        server = Server(problem(status))
        with client(server) as made, pytest.raises((Refused, Busy)) as caught:
            made.recommend(RecommendQuestion(visitor_id="v"))
        assert len(server.seen) == 1
        assert caught.value.problem.status == status


def test_busy_says_when_to_come_back_and_long_waits_are_the_callers() -> None:
    server = Server(problem(503, retry_after="60"))
    with client(server) as made, pytest.raises(Busy) as caught:
        made.search(SearchQuestion(visitor_id="v", query="mug"))
    assert caught.value.retry_after_s == 60
    assert len(server.seen) == 1


def test_retries_end() -> None:
    server = Server(*[httpx.ConnectError("refused")] * 5)
    with client(server) as made, pytest.raises(Unreachable, match="refused"):
        made.explain("p-1")
    assert len(server.seen) == 3


def test_an_answer_of_somebody_else_is_no_reply() -> None:
    for response in (httpx.Response(200, text="<html>"), httpx.Response(404, text="<html>")):
        server = Server(response)
        with client(server) as made, pytest.raises((Unreachable, Refused), match="shoploop"):
            made.explain("p-1")


def test_what_something_between_has_spoilt_is_unreachable_too() -> None:
    def spoilt(_request: httpx.Request) -> httpx.Response:
        coded = {"Content-Encoding": "gzip"}
        return httpx.Response(200, headers=coded, stream=httpx.ByteStream(b"no gzip"))

    transport = httpx.MockTransport(spoilt)
    with Client("http://shop", transport=transport, retries=0) as shop, pytest.raises(Unreachable):
        shop.explain("p-1")
    # A digit, but no number.
    assert pause_s(Attempt(503, retry_after="²"), retry=0, chance=0.0) == 0.0


def test_pauses_grow_and_differ() -> None:
    assert pause_s(Attempt(503), 0, 1.0) == 0.1
    assert pause_s(Attempt(503), 3, 0.5) == 0.4
    assert pause_s(Attempt(503, retry_after="Fri, 01 Jan"), 0, 0.0) == 0.0
