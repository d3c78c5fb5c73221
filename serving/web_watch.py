"""Around the HTTP application: counts every request, times it, and gives it a trace.

A route is named by its template, so that a path with an id in it makes no figure of its own.
"""

from __future__ import annotations

import time
from typing import Any

from serving.metrics import Metrics
from serving.traces import CURRENT, Traces

UNKNOWN_ROUTE = "unknown"
_UNTRACED = ("/healthz", "/metrics")


class Watched:
    """An ASGI application that is watched."""

    def __init__(self, application: Any, metrics: Metrics, traces: Traces) -> None:
        self._application = application
        self._metrics = metrics
        self._traces = traces

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers one connection's request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        began_s, status = time.perf_counter(), 500
        trace = None
        if scope["path"] not in _UNTRACED:
            trace = self._traces.begin("request", "server", _traceparent(scope["headers"]))
        token = CURRENT.set(trace)

        async def noting(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._application(scope, receive, noting)
        finally:
            CURRENT.reset(token)
            self._metrics.in_flight.dec()
            route = scope.get("path_template") or UNKNOWN_ROUTE
            self._metrics.replied(route, status, time.perf_counter() - began_s)
            if trace is not None:
                said = {"http.route": route, "http.response.status_code": status}
                self._traces.end(trace, said)


def _traceparent(headers: Any) -> bytes | None:
    for name, value in headers:
        if name == b"traceparent":
            return bytes(value)
    return None
