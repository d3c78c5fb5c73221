"""`/healthz` and `/metrics` of a process, served by a thread of the standard library's server."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from schemas.errors import Unavailable


class Health:
    """A running health server; `port` is the one it got."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._server = server
        self.port = int(server.server_address[1])
        self._thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="health", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stops answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


def start_health(
    host: str, port: int, ready: Callable[[], bool], metrics: Callable[[], str]
) -> Health:
    """Serves `/healthz` (200 when ready, else 503) and `/metrics` (Prometheus text).

    Raises:
        Unavailable: the address cannot be bound.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/healthz":
                well = ready()
                body = json.dumps({"ready": well}).encode()
                self._answer(200 if well else 503, "application/json", body)
            elif self.path == "/metrics":
                kind = "text/plain; version=0.0.4; charset=utf-8"
                self._answer(200, kind, metrics().encode())
            else:
                self._answer(404, "application/json", b'{"error": "not found"}')

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing: requests of a probe are no news."""

    try:
        return Health(ThreadingHTTPServer((host, port), Handler))
    except OSError as error:
        raise Unavailable(f"cannot serve health on {host}:{port}: {error}") from error


def counters_text(prefix: str, counters: dict[str, float]) -> str:
    """Counters as Prometheus text; a key may carry labels in braces.

    >>> print(counters_text("shoploop_streams", {'refused_total{reason="empty"}': 2}), end="")
    shoploop_streams_refused_total{reason="empty"} 2
    """
    return "".join(f"{prefix}_{name} {value:g}\n" for name, value in sorted(counters.items()))
