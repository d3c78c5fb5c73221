"""HTTP/1.1 as uvicorn speaks it, with bounds on what comes before a body and after a reply.

A head of any length would be kept in memory, and a caller who never ends one, or sends the rest of
a refused body drop by drop, or does not take its reply, would keep its connection; uvicorn bounds
none of it. What is no HTTP at all gets a problem, too. A wish to change the protocol is passed
over, as RFC 9110, section 7.8, allows: uvicorn would lose the body of such a request, which Java's
client makes of every first one.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from schemas.codec import encode
from schemas.errors import Denied
from schemas.http_routes import PROBLEM_JSON
from serving.connections import Connections
from serving.problems import problem_of

MAX_HEAD_BYTES = 65_536
HEAD_WITHIN_S = 10.0
TAKEN_WITHIN_S = 10.0
CROWDED = "too many connections are open"


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    head_within_s = HEAD_WITHIN_S
    taken_within_s = TAKEN_WITHIN_S

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_bytes = 0
        self._in_head = True
        self._changes_protocol = False
        self._held: Connections | None = None
        self.is_made = False  # not before hands are shaken
        self._coming: asyncio.Task[None] | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._taking_timer: asyncio.TimerHandle | None = None

    def come_by(self, coming: asyncio.Task[None], held: Connections) -> None:
        """Says which task makes the connection, hands shaken, and where it is held from now on."""
        self._coming, self._held = coming, held
        held.add(self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first head."""
        super().connection_made(transport)
        self.is_made = True
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the wait."""
        self._end_head()
        self.resume_writing()
        super().connection_lost(exc)
        if self._held is not None:
            self._held.remove(self)

    def give_way(self) -> None:
        """Closes the connection for the sake of another; who was about to ask is told why."""
        if not self.is_made:
            if self._coming is not None:
                self._coming.cancel()
            return
        asks = self._head_bytes > 0 if self._in_head else not self._replied()
        if asks:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", CROWDED)
        else:
            self._end_head()
            self._close()

    def pause_writing(self) -> None:
        """The caller does not take its reply."""
        super().pause_writing()
        if self._taking_timer is None:
            self._taking_timer = self.loop.call_later(self.taken_within_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It does."""
        super().resume_writing()
        if self._taking_timer is not None:
            self._taking_timer.cancel()
            self._taking_timer = None

    def on_response_complete(self) -> None:
        """A reply is given; we wait for the next question."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._abort_later()
        elif self._held is not None and self._replied():
            self._held.quiet(self)

    def timeout_keep_alive_handler(self) -> None:
        """No next question came."""
        self._close()

    def data_received(self, data: bytes) -> None:
        """Takes what has come; refuses a head that is too long."""
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
            return
        if not self._in_head:
            self._watch_rest()
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            text = f"the head has more than {MAX_HEAD_BYTES} bytes"
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too_large", text)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        if not self._in_head:
            self._end_head()
        self._begin_head()

    def on_headers_complete(self) -> None:
        """A head has ended."""
        self._end_head()
        asks = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        self._changes_protocol = asks
        if not asks:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A body has ended; that of a wish to change the protocol is yet to come."""
        if self._changes_protocol:
            return
        super().on_message_complete()
        if self._held is not None and not self._replied():
            self._held.busy(self)

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST, "malformed", msg)

    def _feed(self, data: bytes) -> None:
        """Has the data parsed; a request to change the protocol as one that does not."""
        while True:
            try:
                self.parser.feed_data(data)
                return
            except HttpParserUpgrade as error:
                if not self._changes_protocol:
                    return
                data = self._plain_head() + data[error.args[0] :]
                self.parser = HttpRequestParser(self)

    def _plain_head(self) -> bytes:
        """The head that has been read, without its wish."""
        first = b"%b %b HTTP/%b" % (
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version().encode(),
        )
        named = [b"%b: %b" % each for each in self.headers if each[0] != b"upgrade"]
        return b"\r\n".join([first, *named, b"", b""])

    def _watch_rest(self) -> None:
        """After a reply no head has begun: what comes is the rest of a body, or blank lines."""
        if self._replied() and self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_within_s, self._late)

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
        if not self._in_head:
            self._close()
            return
        text = f"the head did not come within {self.head_within_s:g} s"
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, "too_slow", text)

    def _refuse(self, status: HTTPStatus, kind: str, text: str) -> None:
        """Answers with a problem and closes the connection."""
        self._end_head()
        if not self.transport.is_closing():
            self.transport.write(refusal(status, kind, text))
            self._close()

    def _replied(self) -> bool:
        return not self.cycle or self.cycle.response_complete

    def _close(self) -> None:
        self.transport.close()
        self._abort_later()

    def _abort_later(self) -> None:
        """What is not taken within a while is given up; else it would never be closed."""
        if self.transport.get_write_buffer_size():
            self.loop.call_later(self.taken_within_s, self.transport.abort)


def refusal(status: HTTPStatus, kind: str, text: str) -> bytes:
    """A whole response that refuses and says that the connection is closed."""
    headers = [("Retry-After", "1")] if status == HTTPStatus.SERVICE_UNAVAILABLE else []
    problem, headers_said = problem_of(Denied(status, kind, text, headers), None)
    body = encode(problem)
    more = "".join(f"{name.lower()}: {value}\r\n" for name, value in headers_said)
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {PROBLEM_JSON}\r\n"
        f"content-length: {len(body)}\r\n{more}connection: close\r\n\r\n"
    )
    return head.encode() + body
