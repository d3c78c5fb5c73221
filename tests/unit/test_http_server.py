"""The server under the application: heads without end, what is no HTTP, one port for several."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator

import pytest
from http_server_factory import Hasty, answer, serving

from core.settings import Settings
from local.child import free_ports
from serving.http_protocol import MAX_HEAD_BYTES


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(Settings(http_port=free_ports(1)[0])) as port:
        yield port


def test_a_head_within_the_bound_is_taken(port: int) -> None:
    value = b"a" * (MAX_HEAD_BYTES - 1_000)
    found = answer(port, b"GET / HTTP/1.1\r\nConnection: close\r\nX-A: " + value + b"\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 200")
    assert b"here" in found


def test_a_head_request_is_answered_without_a_body(port: int) -> None:
    found = answer(port, b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 200")
    assert found.endswith(b"\r\n\r\n")
    assert b"here" not in found


def test_a_long_body_is_no_long_head(port: int) -> None:
    body = b" " * 900_000
    head = f"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    assert answer(port, head.encode() + body).startswith(b"HTTP/1.1 200")


def test_a_head_without_end_is_refused(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-A: " + b"a" * (MAX_HEAD_BYTES + 1))
        found = connection.recv(65_536)
    assert found.startswith(b"HTTP/1.1 431")
    assert json.loads(found.partition(b"\r\n\r\n")[2])["type"] == "urn:shoploop:problem:too_large"


@pytest.mark.parametrize(
    "data", [b"EHLO shop\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
)
def test_what_is_no_http_gets_a_problem(port: int, data: bytes) -> None:
    found = answer(port, data)
    assert found.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in found


def test_who_never_ends_a_head_loses_the_connection() -> None:
    with serving(Settings(http_port=free_ports(1)[0]), Hasty) as port:
        found = answer(port, b"GET / HTTP/1.1\r\nX-A: a")
        silent = answer(port, b"")
    assert found.startswith(b"HTTP/1.1 408")
    assert silent.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    ("question", "more"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"\r\n"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\na", b"a"),
    ],
)
def test_who_sends_no_further_head_after_a_reply_loses_the_connection(
    question: bytes, more: bytes
) -> None:
    with (
        serving(Settings(http_port=free_ports(1)[0]), Hasty) as port,
        socket.create_connection(("127.0.0.1", port), timeout=60) as connection,
    ):
        connection.sendall(question)
        found = connection.recv(65_536)
        while not found.endswith(b"0\r\n\r\n"):
            found += connection.recv(65_536)
        connection.sendall(more)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(65_536) == b""


def test_a_wish_to_change_the_protocol_is_passed_over_and_the_body_is_read(port: int) -> None:
    wish = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
    asked = b"POST / HTTP/1.1\r\nHost: shop\r\n" + wish + b"Content-Length: 5\r\n\r\nmug-1"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for question in (asked, asked, asked.replace(b"Upgrade, ", b"close, Upgrade, ")):
            connection.sendall(question[:90])
            connection.sendall(question[90:])
            found = b""
            while not found.endswith(b"0\r\n\r\n"):
                found += connection.recv(65_536)
            assert found.startswith(b"HTTP/1.1 200")
            assert b"here mug-1" in found
        assert connection.recv(65_536) == b""


def test_servers_that_share_a_port_both_answer_and_one_goes_on_alone() -> None:
    settings = Settings(http_port=free_ports(1)[0], http_shared=True)
    question = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
    with serving(settings) as port:
        with serving(settings):
            assert all(b"here" in answer(port, question) for _ in range(20))
        assert all(b"here" in answer(port, question) for _ in range(5))
