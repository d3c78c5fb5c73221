"""The client: what is sent, what is sent again, and how errors come back."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import httpx
import pytest

import schemas
import shoploop
from schemas.http_routes import BY_NAME
from shoploop import (
    AsyncClient,
    Busy,
    ClassifyQuestion,
    Client,
    Feedback,
    RecommendQuestion,
    Refused,
    Searched,
    SearchQuestion,
    ShopEvent,
    SimilarQuestion,
    Unreachable,
)
from shoploop.calls import Attempt, Plan

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
PLAN = Plan(retries=9, wait_s=10.0)
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


def test_more_calls_than_connections_is_said_as_such() -> None:
    server = Server(*[httpx.PoolTimeout("")] * 3)
    with client(server) as made, pytest.raises(Unreachable, match="make fewer calls at once"):
        made.explain("p-1")


def test_retries_end() -> None:
    server = Server(*[httpx.ConnectError("refused")] * 5)
    with client(server) as made, pytest.raises(Unreachable, match="shop/v1/explain/p-1: refused"):
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
    assert PLAN.pause_s(Attempt(503, retry_after="²"), 0, 0.0, 0.0) == 0.0


def test_pauses_grow_and_differ_and_end() -> None:
    assert PLAN.pause_s(Attempt(503), 0, 0.0, 1.0) == 0.1
    assert PLAN.pause_s(Attempt(503), 3, 0.0, 0.5) == 0.4
    assert PLAN.pause_s(Attempt(503, retry_after="Fri, 01 Jan"), 0, 0.0, 0.0) == 0.0
    assert PLAN.pause_s(Attempt(503, retry_after="3"), 0, 8.0, 0.0) is None


def test_an_address_without_a_scheme_is_refused_where_it_is_given() -> None:
    for url in ("localhost:18080", "", "http://", "ftp://shop", "http://[::1"):
        with pytest.raises(ValueError, match="no address of serving"):
            Client(url)
        with pytest.raises(ValueError, match="no address of serving"):
            AsyncClient(url)


def test_a_key_that_no_header_can_carry_is_refused_and_not_told() -> None:
    for key in ("secret-abc\n", "secr\u00e9t", " secret"):
        with pytest.raises(ValueError, match="the key has") as refused:
            Client("http://shop", key=key)
        assert "secr" not in str(refused.value)


def test_type_checkers_read_the_types() -> None:
    for package in (shoploop, schemas):
        assert (Path(str(package.__file__)).parent / "py.typed").exists()
    kinds = {each.__name__ for each in get_args(ShopEvent)}
    assert kinds <= set(shoploop.__all__)


class Dying:
    """Breaks off in the middle of its first answers, as a process does that is killed."""

    def __init__(self, breaks: int) -> None:
        self.breaks = breaks
        body = json.dumps(REPLIES["recommend"]).encode()
        self._whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = re.findall(rb"content-length: (\d+)", head.lower())
        await reader.readexactly(int(length))
        self.breaks -= 1
        writer.write(self._whole[:-20] if self.breaks >= 0 else self._whole)
        writer.close()


def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    async def ask() -> list[str]:
        dying = Dying(breaks=2)
        async with await asyncio.start_server(dying.answer, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            question = RecommendQuestion(visitor_id="v")
            async with AsyncClient(url) as made:
                first = await made.recommend(question)
            dying.breaks = 2
            with Client(url) as blocking:
                second = await asyncio.to_thread(blocking.recommend, question)
            return [first.prediction_id, second.prediction_id]

    assert asyncio.run(ask()) == ["p", "p"]


def test_a_cancelled_call_gives_its_connection_back() -> None:
    async def ask() -> str:
        transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=1))
        held = asyncio.Event()

        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if held.is_set():
                await Dying(breaks=0).answer(reader, writer)
            else:
                held.set()
                await reader.read()
                writer.close()

        async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with AsyncClient(url, transport=transport, timeout_s=60) as made:
                call = asyncio.create_task(made.recommend(RecommendQuestion(visitor_id="v")))
                await held.wait()
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                return (await made.recommend(RecommendQuestion(visitor_id="v"))).prediction_id

    assert asyncio.run(ask()) == "p"
