"""HTTP/1.1 as uvicorn speaks it, with bounds on what comes before a body.

A head of any length would be kept in memory, and a caller who never ends one would keep its
connection; uvicorn bounds neither. What is no HTTP at all gets a problem, too.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from schemas.codec import encode
from schemas.errors import Denied
from schemas.http_routes import PROBLEM_JSON
from serving.problems import problem_of

MAX_HEAD_BYTES = 65_536
HEAD_WITHIN_S = 10.0


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    head_within_s = HEAD_WITHIN_S

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_bytes = 0
        self._in_head = True
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first head."""
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the wait."""
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes what has come; refuses a head that is too long."""
        super().data_received(data)
        if not self._in_head:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            text = f"the head has more than {MAX_HEAD_BYTES} bytes"
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too_large", text)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._begin_head()

    def on_headers_complete(self) -> None:
        """A head has ended."""
        self._end_head()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST, "malformed", msg)

    def _begin_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_within_s, self._late)
        self._in_head = True
        self._head_bytes = 0

    def _end_head(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _late(self) -> None:
        text = f"the head did not come within {self.head_within_s:g} s"
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, "too_slow", text)

    def _refuse(self, status: HTTPStatus, kind: str, text: str) -> None:
        """Answers with a problem and closes the connection."""
        self._end_head()
        if self.transport.is_closing():
            return
        problem, _ = problem_of(Denied(status, kind, text), None)
        body = encode(problem)
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {PROBLEM_JSON}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
