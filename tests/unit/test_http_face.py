"""The ASGI application without the product behind it: routes, bounds, problems, repeated calls."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.access_check import Caller
from core.settings import Settings
from schemas.errors import BadSettings, Denied, Overloaded, Unavailable
from schemas.http_routes import BY_NAME, OPERATIONS
from serving.access import Access
from serving.asgi import MAX_BODY_BYTES, Call, Face, read_body
from serving.http_server import bound_socket
from serving.idempotency import Repeats
from serving.responses import Response, json_response


class Product:
    """Handlers that say what they were asked, or raise."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: Exception | None = None
        self.refused: list[str] = []

    async def __call__(self, call: Call) -> Response:
        self.calls += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        said = {"operation": call.operation.name, "made_id": call.made_id, **call.parameters}
        return json_response(200, said)


class Door:
    """Lets everyone in but those without the one key, where there is one."""

    def __init__(self, key: str = "") -> None:
        self.key = key

    def check(self, headers: Any, scope: str, cost: int = 1) -> Caller:
        if self.key and dict(headers).get(b"x-api-key") != self.key.encode():
            raise Denied(401, "missing", "a key is needed", [("WWW-Authenticate", "Bearer")])
        return Caller("shop", (("RateLimit", "5"),))


@pytest.fixture
def product() -> Product:
    return Product()


def face(product: Product, key: str = "") -> Face:
    door: Any = Door(key)
    access: Access = door
    return Face(dict.fromkeys(BY_NAME, product), access, product.refused.append)


def ask(face: Face, *calls: dict[str, Any]) -> list[httpx.Response]:
    """The responses to calls made one after the other."""

    async def all_of() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=face)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return [await client.request(**{"method": "POST", **call}) for call in calls]

    return asyncio.run(all_of())


def test_every_operation_is_routed_to_its_handler(product: Product) -> None:
    for operation in OPERATIONS:
        path = operation.path.format(task="tone%2Fde%20x", prediction_id="p-1")
        (reply,) = ask(face(product), {"method": operation.method, "url": path})
        assert reply.json()["operation"] == operation.name
    assert (
        ask(face(product), {"url": "/v1/classify/tone%2Fde%20x"})[0].json()["task"] == "tone/de x"
    )


@pytest.mark.parametrize(
    ("call", "status", "kind"),
    [
        ({"url": "/v1/nothing"}, 404, "not_found"),
        ({"url": "/v1/classify/"}, 404, "not_found"),
        ({"url": "/v1/recommend", "method": "GET"}, 405, "method_not_allowed"),
        ({"url": "/v1/explain/p", "method": "DELETE"}, 405, "method_not_allowed"),
        ({"url": "/v1/recommend", "headers": {"content-type": "text/xml"}}, 415, "media_type"),
        ({"url": "/v1/recommend", "headers": {"content-encoding": "gzip"}}, 415, "media_type"),
        ({"url": "/v1/events", "content": b" " * (MAX_BODY_BYTES + 1)}, 413, "too_large"),
        ({"url": "/v1/events", "headers": {"idempotency-key": '""'}}, 400, "idempotency_key"),
        ({"url": "/v1/events", "headers": {"idempotency-key": "k" * 256}}, 400, "idempotency_key"),
    ],
)
def test_what_cannot_be_taken_is_a_problem(
    product: Product, call: dict[str, Any], status: int, kind: str
) -> None:
    (reply,) = ask(face(product), call)
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["type"] == f"urn:shoploop:problem:{kind}"
    assert reply.json()["request_id"] == reply.headers["x-request-id"]
    assert product.refused == [kind]
    assert product.calls == 0


def test_another_method_is_told_which_is_taken(product: Product) -> None:
    replies = ask(
        face(product),
        {"url": "/v1/recommend", "method": "PUT"},
        {"url": "/v1/recommend", "method": "HEAD"},
        {"url": "/healthz", "method": "POST"},
    )
    assert [reply.headers["allow"] for reply in replies] == ["POST", "POST", "GET, HEAD"]


def test_head_is_answered_where_get_is(product: Product) -> None:
    (reply,) = ask(face(product), {"url": "/healthz", "method": "HEAD"})
    assert reply.status_code == 200


@pytest.mark.parametrize("media", ["application/json", "application/json; charset=utf-8", None])
def test_json_by_any_of_its_names_is_taken(product: Product, media: str | None) -> None:
    headers = {"content-type": media} if media else {}
    (reply,) = ask(face(product), {"url": "/v1/search", "content": b"{}", "headers": headers})
    assert reply.status_code == 200


def test_a_body_in_parts_is_bounded_while_it_comes(product: Product) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * (MAX_BODY_BYTES // 2)

    (reply,) = ask(face(product), {"url": "/v1/events", "content": parts()})
    assert reply.status_code == 413


@pytest.mark.parametrize("begun", [True, False])
def test_a_body_that_does_not_come_ends_the_call(begun: bool) -> None:
    sent = [{"type": "http.request", "body": b"{", "more_body": True}] if begun else []

    async def receive() -> Any:
        if sent:
            return sent.pop()
        return await asyncio.get_running_loop().create_future()

    with pytest.raises(Denied) as caught:
        asyncio.run(read_body({}, receive, within_s=0.01))
    assert caught.value.status == 408


@pytest.mark.parametrize(
    ("error", "status", "after"),
    [
        (Overloaded("full", 2.4), 503, "3"),
        (Overloaded("yours", 1.0, by_caller=True), 429, "1"),
        (Unavailable("away"), 503, "1"),
        (KeyError("secret"), 500, None),
    ],
)
def test_errors_of_handlers_are_problems_with_the_time_to_come_back(
    product: Product, error: Exception, status: int, after: str | None
) -> None:
    product.error = error
    (reply,) = ask(face(product), {"url": "/v1/recommend"})
    assert reply.status_code == status
    assert reply.headers.get("retry-after") == after
    assert "secret" not in reply.text


def test_the_name_of_a_call_is_sent_back_and_replaced_when_it_is_none(product: Product) -> None:
    named, odd, without = ask(
        face(product),
        {"url": "/v1/search", "headers": {"x-request-id": "page-7"}},
        {"url": "/v1/search", "headers": {"x-request-id": "a b"}},
        {"url": "/v1/search"},
    )
    assert named.headers["x-request-id"] == "page-7"
    assert odd.headers["x-request-id"] not in ("", "a b")
    assert without.headers["x-request-id"] == without.json()["made_id"]


def test_nothing_but_health_is_open_without_a_key(product: Product) -> None:
    closed = face(product, key="k")
    for operation in OPERATIONS:
        path = operation.path.format(task="tone", prediction_id="p")
        without, with_key = ask(
            closed,
            {"method": operation.method, "url": path},
            {"method": operation.method, "url": path, "headers": {"x-api-key": "k"}},
        )
        assert without.status_code == (200 if operation.name == "healthz" else 401)
        assert with_key.status_code == 200
        if operation.name != "healthz":
            assert with_key.headers["ratelimit"] == "5"
            assert without.headers["www-authenticate"] == "Bearer"


def test_a_repeated_call_gets_the_first_answer_and_another_body_is_refused(
    product: Product,
) -> None:
    key = {"idempotency-key": '"k-1"'}
    first, again, other, elsewhere = ask(
        face(product),
        {"url": "/v1/recommend", "content": b"{}", "headers": key},
        {"url": "/v1/recommend", "content": b"{}", "headers": {"idempotency-key": "k-1"}},
        {"url": "/v1/recommend", "content": b"[]", "headers": key},
        {"url": "/v1/similar", "content": b"[]", "headers": key},
    )
    assert first.json() == again.json()
    assert other.status_code == 422
    assert elsewhere.json()["made_id"] != first.json()["made_id"]
    assert product.calls == 2
    # Another replica, or this one after a restart, derives the same ids.
    (restarted,) = ask(face(product), {"url": "/v1/recommend", "content": b"{}", "headers": key})
    assert restarted.json() == first.json()


def test_a_handler_that_counted_more_says_what_is_left_and_a_repeat_says_it_anew() -> None:
    async def batch(call: Call) -> Response:
        return json_response(200, [])._replace(headers=(("RateLimit", "3"),))

    door: Any = Door()
    made = Face(dict.fromkeys(BY_NAME, batch), door, print)
    call = {"url": "/v1/recommend/batch", "content": b"{}", "headers": {"idempotency-key": "k"}}
    first, again = ask(made, call, call)
    assert first.headers.get_list("ratelimit") == ["3"]
    assert again.headers.get_list("ratelimit") == ["5"]


def test_a_failed_call_may_be_made_again_under_its_key(product: Product) -> None:
    made = face(product)
    call = {"url": "/v1/recommend", "content": b"{}", "headers": {"idempotency-key": "k"}}
    product.error = Unavailable("away")
    (failed,) = ask(made, call)
    product.error = None
    (again,) = ask(made, call)
    assert (failed.status_code, again.status_code) == (503, 200)


def test_a_batch_that_is_not_final_is_asked_anew_under_its_key() -> None:
    answers = [json_response(207, ["late"])._replace(is_final=False), json_response(200, ["here"])]

    async def batch(call: Call) -> Response:
        return answers.pop(0)

    door: Any = Door()
    made = Face(dict.fromkeys(BY_NAME, batch), door, print)
    call = {"url": "/v1/recommend/batch", "content": b"{}", "headers": {"idempotency-key": "k"}}
    first, again, kept = ask(made, call, call, call)
    assert [each.json() for each in (first, again, kept)] == [["late"], ["here"], ["here"]]


def test_a_call_that_is_still_being_answered_is_a_conflict() -> None:
    repeats = Repeats(lambda: 0.0)
    assert repeats.begin("p", b"{}") is None
    with pytest.raises(Denied) as caught:
        repeats.begin("p", b"{}")
    assert caught.value.status == 409


def test_answers_are_forgotten_after_a_day_and_beyond_the_bound() -> None:
    now_s = 0.0
    repeats = Repeats(lambda: now_s, most_bytes=3_000)
    for number in range(4):
        assert repeats.begin(f"p{number}", b"{}") is None
        repeats.end(f"p{number}", json_response(200, "x" * 400))
    assert repeats.begin("p3", b"{}") is not None
    assert repeats.begin("p0", b"{}") is None
    now_s = 86_401.0
    assert repeats.begin("p3", b"{}") is None


def test_one_port_is_shared_by_those_who_say_so_and_refused_to_others() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = Settings(http_port=port, http_shared=True)
    with bound_socket(shared) as one, bound_socket(shared) as two:
        for each in (one, two):
            each.listen(64)
            each.setblocking(False)
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(64)]
        assert _accepted(one) + _accepted(two) == 64
        for client in clients:
            client.close()
        with pytest.raises(BadSettings, match="SHOPLOOP_HTTP_SHARED"):
            bound_socket(Settings(http_port=port))


def _accepted(listening: socket.socket) -> int:
    """How many connections came to this socket; with 64 of them, never none."""
    count = 0
    while True:
        try:
            listening.accept()[0].close()
        except BlockingIOError:
            assert count
            return count
        count += 1


def test_a_second_process_on_a_port_says_so_and_leaves(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "serving", "--port", str(port)],
            env={"SHOPLOOP_HOME": str(tmp_path), "PATH": ""},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert f"another process listens on 127.0.0.1:{port}" in done.stderr.decode()
    assert json.dumps("Traceback") not in done.stderr.decode()
