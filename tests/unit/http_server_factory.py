"""A server of this process under a plain application."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from uvicorn.config import Config

from core.settings import Settings
from serving.connections import Connections
from serving.http_protocol import BoundedProtocol
from serving.http_server import bound_socket, server_of


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Says who it is, and the first part of what it was sent."""
    part = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here " + part[:10]})


class Hasty(BoundedProtocol):
    """Waits for no head, and for no one to take its reply."""

    head_within_s = 0.3
    taken_within_s = 0.05


@contextmanager
def serving(
    settings: Settings,
    protocol: type[BoundedProtocol] = BoundedProtocol,
    held: Connections | None = None,
    called: Any = application,
    tls: ssl.SSLContext | None = None,
) -> Iterator[int]:
    """A server on a free port of this process."""
    server = server_of(called, held if held is not None else Connections(64), tls)
    config: Config = server.config
    config.http = protocol
    thread = threading.Thread(target=server.run, args=([bound_socket(settings)],))
    thread.start()
    deadline = time.monotonic() + 60
    try:
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        yield settings.http_port
    finally:
        server.should_exit = True
        thread.join(timeout=60)
    assert not thread.is_alive()


def answer(port: int, data: bytes) -> bytes:
    """What comes back until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with contextlib.suppress(OSError):  # it was refused while it was still being sent
            connection.sendall(data)
        parts = []
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65_536):
                parts.append(part)
    return b"".join(parts)
