"""The server under the ASGI application: its socket, its connections and its loop.

uvicorn's own way of accepting knows no bound, and none of connections that are still shaking
hands, so they are accepted here.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from http import HTTPStatus
from typing import Any

import uvicorn

from core.settings import Settings
from schemas.errors import BadSettings
from serving.connections import Connections
from serving.http_protocol import CROWDED, HEAD_WITHIN_S, BoundedProtocol, refusal

BACKLOG = 1_024
LEAVE_WITHIN_S = 5
_IDLE_S = 30
_PAUSE_S = 0.05

log = logging.getLogger(__name__)


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


class Server(uvicorn.Server):
    """Answers until `should_exit` is set, on so many connections at once as `held` says."""

    def __init__(self, config: uvicorn.Config, held: Connections) -> None:
        super().__init__(config)
        self._held = held
        self._accepting: list[asyncio.Task[None]] = []
        self._coming: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens."""
        for each in sockets or ():
            each.setblocking(False)
            each.listen(self.config.backlog)
            self._accepting.append(asyncio.create_task(self._accept(each)))
        await super().startup(sockets=[])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts no more, answers what was asked, and closes."""
        for task in (*self._accepting, *(self._coming if self.config.is_ssl else ())):
            task.cancel()
        await asyncio.gather(*self._accepting, *self._coming, return_exceptions=True)
        await super().shutdown(sockets)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listening)
            except OSError as error:  # it left at once, or no file is left
                log.info("a connection was not accepted: %s", error.strerror)
                await asyncio.sleep(_PAUSE_S)
                continue
            if self._held.has_room():
                self._begin(accepted)
            else:
                self._turn_away(accepted)
            await asyncio.sleep(0)  # others have their turn while many come

    def _begin(self, accepted: socket.socket) -> None:
        protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        assert isinstance(protocol, BoundedProtocol)
        coming = asyncio.create_task(self._connect(protocol, accepted))
        protocol.come_by(coming, self._held)
        self._coming.add(coming)
        coming.add_done_callback(self._coming.discard)

    async def _connect(self, protocol: BoundedProtocol, accepted: socket.socket) -> None:
        """Gives the connection to its protocol, once hands are shaken where it speaks TLS."""
        tls = self.config.ssl
        try:
            with contextlib.suppress(OSError):  # it speaks no TLS, is too slow, or has left
                await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: protocol,
                    accepted,
                    ssl=tls,
                    ssl_handshake_timeout=None if tls is None else HEAD_WITHIN_S,
                    ssl_shutdown_timeout=None if tls is None else LEAVE_WITHIN_S,
                )
        finally:
            if not protocol.is_made:
                self._held.remove(protocol)

    def _turn_away(self, accepted: socket.socket) -> None:
        with accepted, contextlib.suppress(OSError):
            if self.config.ssl is None:
                accepted.send(refusal(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", CROWDED))


def server_of(application: Any, held: Connections, tls: ssl.SSLContext | None = None) -> Server:
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
    return Server(config, held)


def _refusal(settings: Settings, error: OSError) -> str:
    where = f"{settings.http_host}:{settings.http_port}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"SHOPLOOP_HTTP_PORT={settings.http_port}: another process listens on {where}; with "
            "SHOPLOOP_HTTP_SHARED=true, for all of them, serving processes share a port"
        )
    return f"SHOPLOOP_HTTP_HOST={settings.http_host}: cannot listen on {where}: {error.strerror}"
