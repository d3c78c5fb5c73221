"""The server under the ASGI application: its socket and its loop."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
from typing import Any

import uvicorn

from core.settings import Settings
from schemas.errors import BadSettings
from serving.http_protocol import BoundedProtocol

BACKLOG = 1_024
LEAVE_WITHIN_S = 5
_IDLE_S = 30


def bound_socket(settings: Settings) -> socket.socket:
    """A socket at the address of the settings; with SHOPLOOP_HTTP_SHARED others may have it, too.

    The kernel then shares connections out among the processes that listen there.

    Raises:
        BadSettings: the address is taken, or is none of this machine's.
    """
    host, port = settings.http_host, settings.http_port
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, number)
    except OSError as error:
        raise BadSettings(f"SHOPLOOP_HTTP_HOST={host}: {error}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.http_shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise BadSettings(_refusal(settings, error)) from error
    return bound


def server_of(application: Any, tls: ssl.SSLContext | None = None) -> uvicorn.Server:
    """A server for the application; `run(sockets=[...])` answers until `should_exit` is set."""
    config = uvicorn.Config(
        application,
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=logging.ERROR,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=LEAVE_WITHIN_S,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
    )
    return uvicorn.Server(config)


def _refusal(settings: Settings, error: OSError) -> str:
    where = f"{settings.http_host}:{settings.http_port}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"SHOPLOOP_HTTP_PORT={settings.http_port}: another process listens on {where}; with "
            "SHOPLOOP_HTTP_SHARED=true, for all of them, serving processes share a port"
        )
    return f"SHOPLOOP_HTTP_HOST={settings.http_host}: cannot listen on {where}: {error.strerror}"
