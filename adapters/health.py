"""`/healthz` and `/metrics` of a process, served by a thread of the standard library's server.

Who may read the metrics is said by `adapters/access_check.py`; `/healthz` is open.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from adapters.access_check import AccessCheck, access_check_of
from adapters.tls import tls_of
from core.settings import Settings
from schemas.errors import Denied, Unavailable

MOST_CONNECTIONS = 64
_IDLE_S = 30


class Health:
    """A running health server; `port` is the one it got."""

    def __init__(self, server: ThreadingHTTPServer, access: AccessCheck) -> None:
        self._server = server
        self._access = access
        self.port = int(server.server_address[1])
        self._thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="health", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stops answering."""
        self._server.shutdown()
        self._server.server_close()
        self._access.close()
        self._thread.join(timeout=5)


class _Server(ThreadingHTTPServer):
    """Says nothing of clients that break off or speak no TLS; the longest connected give way."""

    request_queue_size = MOST_CONNECTIONS

    def __init__(self, *arguments: Any) -> None:
        self._open: dict[Any, None] = {}
        self._lock = threading.Lock()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answers in a thread; each holds one of so many places."""
        oldest = None
        with self._lock:
            self._open[request] = None
            if len(self._open) > MOST_CONNECTIONS:
                oldest = next(iter(self._open))
                del self._open[oldest]  # its thread may be slow to find it; the next goes then
        if oldest is not None:
            with contextlib.suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """One has ended."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """A probe's trouble is no news."""


class _Handler(BaseHTTPRequestHandler):
    """One request; the process's own answers and check are attributes of a subclass."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    access: ClassVar[AccessCheck]
    ready: ClassVar[Callable[[], bool]]
    metrics: ClassVar[Callable[[], str]]

    def do_GET(self) -> None:
        """Answers the two paths there are."""
        if self.path == "/healthz":
            well = type(self).ready()
            body = json.dumps({"ready": well}).encode()
            self._answer(200 if well else 503, "application/json", body)
        elif self.path == "/metrics":
            self._metrics()
        else:
            self._answer(404, "application/json", b'{"error": "not found"}')

    def _metrics(self) -> None:
        given = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in self.headers.items()
        ]
        try:
            caller = self.access.check(given, "metrics")
        except Denied as error:
            body = json.dumps({"error": error.reason}).encode()
            self._answer(error.status, "application/json", body, error.headers)
            return
        kind = "text/plain; version=0.0.4; charset=utf-8"
        self._answer(200, kind, type(self).metrics().encode(), caller.headers)

    def _answer(
        self, status: int, kind: str, body: bytes, more: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), *more):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: requests of a probe are no news."""


def start_health(
    settings: Settings, ready: Callable[[], bool], metrics: Callable[[], str]
) -> Health:
    """Serves `/healthz` (200 when ready, else 503) and `/metrics` (Prometheus text).

    Raises:
        BadSettings: the keys file, the issuer or the TLS files cannot be used.
        Unavailable: the address cannot be bound.
    """
    tls = tls_of(settings)
    access = access_check_of(settings)
    own = {
        "access": access,
        "ready": staticmethod(ready),
        "metrics": staticmethod(metrics),
    }
    place = (settings.http_host, settings.http_port)
    try:
        server = _Server(place, type("Handler", (_Handler,), own))
    except OSError as error:
        access.close()
        raise Unavailable(f"cannot serve health on {place[0]}:{place[1]}: {error}") from error
    if tls is not None:
        # Hands are shaken by the thread of the connection: a slow client holds up no other.
        server.socket = tls.context().wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    return Health(server, access)


def counters_text(prefix: str, counters: dict[str, float]) -> str:
    """Figures as Prometheus text, every digit told; a key may carry labels in braces.

    What ends in `_total` is a counter, the rest are gauges.

    >>> print(counters_text("shoploop_sink", {'rows_total{table="events"}': 12_345_678}), end="")
    # TYPE shoploop_sink_rows_total counter
    shoploop_sink_rows_total{table="events"} 12345678
    """
    lines, last = [], ""
    # By name first: all samples of one must stand together.
    for key, value in sorted(counters.items(), key=lambda each: each[0].partition("{")):
        name = key.partition("{")[0]
        if name != last:
            kind = "counter" if name.endswith("_total") else "gauge"
            lines.append(f"# TYPE {prefix}_{name} {kind}\n")
            last = name
        lines.append(f"{prefix}_{key} {value:.15g}\n")
    return "".join(lines)
