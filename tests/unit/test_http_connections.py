"""Callers who are slow on purpose, or very many, and those who must be answered nevertheless."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from http_server_factory import Hasty, answer, serving

from core.settings import Settings
from local.child import free_ports
from serving.connections import Connections

ASKED = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
BODY = b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\na"


@pytest.fixture
def settings() -> Settings:
    return Settings(http_port=free_ports(1)[0])


def come(stack: ExitStack, port: int, said: bytes) -> socket.socket:
    """A caller who says this and nothing more."""
    caller = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
    caller.sendall(said)
    return caller


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nX-", BODY])
def test_callers_who_say_little_give_way_to_one_who_asks(settings: Settings, said: bytes) -> None:
    held = Connections(4)
    with serving(settings, held=held, called=body_first) as port, ExitStack() as stack:
        silent = [come(stack, port, said) for _ in range(12)]
        for _ in range(4):
            assert b"here" in answer(port, ASKED)
        found = silent[0].recv(65_536)
        assert len(held) <= 4
    assert found.startswith(b"HTTP/1.1 503") or not said
    assert b"retry-after: 1\r\n" in found or not said


def test_idle_connections_give_way_without_a_word(settings: Settings) -> None:
    with serving(settings, held=Connections(1)) as port, ExitStack() as stack:
        idle = come(stack, port, b"GET / HTTP/1.1\r\n\r\n")
        while not (found := idle.recv(65_536)).endswith(b"0\r\n\r\n"):
            assert found
        assert b"here" in answer(port, ASKED)
        assert idle.recv(65_536) == b""


def test_callers_who_had_an_answer_keep_their_places_from_a_crowd_of_others(
    settings: Settings,
) -> None:
    with serving(settings, held=Connections(4)) as port, ExitStack() as stack:
        known = come(stack, port, b"")
        for _ in range(3):
            known.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while not (found := known.recv(65_536)).endswith(b"0\r\n\r\n"):
                assert found
            silent = [come(stack, port, b"") for _ in range(8)]
            assert silent[0].recv(1) == b""


def test_who_waits_for_an_answer_keeps_its_place_and_one_more_is_refused(
    settings: Settings,
) -> None:
    begun, may_end = threading.Semaphore(0), threading.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        begun.release()
        while not may_end.is_set():
            await asyncio.sleep(0.005)
        await body_first(scope, receive, send)

    held = Connections(2)
    with serving(settings, held=held, called=slow) as port, ExitStack() as stack:
        waiting = [come(stack, port, ASKED) for _ in range(2)]
        assert all(begun.acquire(timeout=60) for _ in waiting)
        refused = answer(port, b"")
        may_end.set()
        assert all(caller.recv(65_536).startswith(b"HTTP/1.1 200") for caller in waiting)
    assert refused.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 1\r\n" in refused


def test_who_does_not_take_the_reply_loses_the_connection(settings: Settings) -> None:
    begun = threading.Event()

    async def large(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(64):
            await send({"type": "http.response.body", "body": bytes(2**20), "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    held = Connections(2)
    with serving(settings, Hasty, held=held, called=large) as port, ExitStack() as stack:
        come(stack, port, b"GET / HTTP/1.1\r\n\r\n")
        assert begun.wait(60)
        deadline = time.monotonic() + 60
        while len(held):
            assert time.monotonic() < deadline
            time.sleep(0.005)


def test_who_never_shakes_hands_gives_way(settings: Settings, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("shop"))
    trusted = ssl.create_default_context(cafile=str(authority.ca))
    with serving(settings, held=Connections(3), tls=tls) as port, ExitStack() as stack:
        silent = [come(stack, port, b"") for _ in range(9)]
        with (
            socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
            trusted.wrap_socket(plain, server_hostname="127.0.0.1") as caller,
        ):
            caller.sendall(ASKED)
            assert caller.recv(65_536).startswith(b"HTTP/1.1 200")
        assert silent[0].recv(65_536) == b""


async def body_first(scope: Any, receive: Any, send: Any) -> None:
    """Answers once the whole body is there."""
    while (part := await receive()).get("more_body"):
        pass
    if part["type"] == "http.request":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"here"})
