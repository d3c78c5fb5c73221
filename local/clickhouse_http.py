"""ClickHouse's HTTP interface over an engine: what a request asks for, how its answer looks.

Speaks HTTP/1.1 with kept connections on loopback. Request bodies may be gzip, deflate, lz4 or zstd;
answers are never compressed, which every client accepts. Knows nothing of chDB.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from local.chdb_engine import Answer, Engine, EngineError, Statement
from local.clickhouse_sql import http_status

log = logging.getLogger(__name__)

# Names in the URL that speak to the HTTP interface and are no settings of a query.
TRANSPORT_NAMES = frozenset(
    {
        "buffer_size",
        "cancel_http_readonly_queries_on_client_close",
        "client_protocol_version",
        "close_session",
        "database",
        "default_format",
        "enable_http_compression",
        "http_headers_progress_interval_ms",
        "password",
        "query",
        "query_id",
        "quota_key",
        "role",
        "send_progress_in_http_headers",
        "session_check",
        "session_id",
        "session_timeout",
        "stacktrace",
        "user",
        "wait_end_of_query",
    }
)
_IDLE_S = 300
_DRAIN_S = 15


class BadRequest(Exception):
    """A request that is no statement: its body or its encoding cannot be read."""


def statement_of(url: str, headers: Message, body: bytes, *, read_only: bool) -> Statement:
    """The statement of a request: URL fields, form fields and body, joined as ClickHouse does."""
    fields = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    content_type = headers.get("Content-Type", "")
    if content_type.startswith("multipart/form-data"):
        fields.update(form_fields(content_type, body))
        body = b""
    if fields.get("compress") == "1" or fields.get("decompress") == "1":
        raise BadRequest("compress=1 and decompress=1 are not available in the embedded endpoint")
    query = fields.get("query", "").encode()
    settings = {
        name: value
        for name, value in fields.items()
        if name not in TRANSPORT_NAMES | {"compress", "decompress"}
        and not name.startswith("param_")
    }
    return Statement(
        body=query + b"\n" + body if query and body else query or body,
        database=fields.get("database") or headers.get("X-ClickHouse-Database") or "default",
        default_format=fields.get("default_format")
        or headers.get("X-ClickHouse-Format")
        or "TabSeparated",
        settings=settings,
        parameters={
            name.removeprefix("param_"): value
            for name, value in fields.items()
            if name.startswith("param_")
        },
        read_only=read_only,
        stream=fields.get("wait_end_of_query") != "1",
    )


def form_fields(content_type: str, body: bytes) -> dict[str, str]:
    """The plain fields of a form; a file (external data) is refused."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message: Message = BytesParser(policy=HTTP).parsebytes(head + body)
    fields = {}
    for part in message.walk():
        if part.is_multipart():
            continue
        if part.get_filename():
            raise BadRequest("external data is not available in the embedded endpoint")
        content = part.get_payload(decode=True)
        name = part.get_param("name", header="content-disposition")
        fields[str(name)] = content.decode() if isinstance(content, bytes) else ""
    return fields


def decoded(body: bytes, encoding: str) -> bytes:
    """The body without its content encoding; several frames one after another count as one."""
    if encoding in ("", "identity"):
        return body
    make = _DECODERS.get(encoding)
    if make is None:
        raise BadRequest(f"content encoding {encoding!r} is not one of {sorted(_DECODERS)}")
    parts = []
    while body:
        decoder = make()
        try:
            parts.append(decoder.decompress(body))
        except Exception as error:  # each library has its own class; all mean a broken body
            raise BadRequest(f"the body is not {encoding}: {error}") from error
        if not decoder.eof:
            raise BadRequest(f"the body is not {encoding}: it ends in the middle of a frame")
        body = decoder.unused_data or b""
    return b"".join(parts)


def _lz4() -> Any:
    import lz4.frame  # type: ignore[import-untyped]

    return lz4.frame.LZ4FrameDecompressor()


def _zstd() -> Any:
    from backports import zstd

    return zstd.ZstdDecompressor()


_DECODERS: Mapping[str, Callable[[], Any]] = {
    "deflate": zlib.decompressobj,
    "gzip": lambda: zlib.decompressobj(31),
    "lz4": _lz4,
    "zstd": _zstd,
}


class Server(ThreadingHTTPServer):
    """One thread for each kept connection; counts the requests under way."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, engine: Engine) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.engine = engine
        self._running = 0
        self._changed = threading.Condition()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a request as under way while the block runs."""
        with self._changed:
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def drain(self) -> bool:
        """Wait until no request is under way; whether that came in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._running == 0, _DRAIN_S)


class Handler(BaseHTTPRequestHandler):
    """One client connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every answer on a kept connection costs 40 ms
    timeout = _IDLE_S
    server: Server

    def do_GET(self) -> None:
        """`/ping` says that the endpoint lives; anything else is a statement that only reads."""
        path = urlsplit(self.path)
        if path.path in ("/ping", "/replicas_status") or (path.path == "/" and not path.query):
            self._reply(200, {"Content-Type": "text/html; charset=UTF-8"}, b"Ok.\n")
            return
        self._statement(read_only=True)

    def do_POST(self) -> None:
        """Run a statement."""
        self._statement(read_only=False)

    def _statement(self, *, read_only: bool) -> None:
        with self.server.counted():
            try:
                body = decoded(self._body(), self.headers.get("Content-Encoding", ""))
                statement = statement_of(self.path, self.headers, body, read_only=read_only)
                answer = self.server.engine.run(statement)
            except ConnectionAbortedError as error:
                log.warning("request dropped: %s", error)
                self.close_connection = True
            except BadRequest as error:
                self._fail(36, f"Code: 36. DB::Exception: {error}. (BAD_ARGUMENTS)")
            except EngineError as error:
                self._fail(error.code, str(error))
            else:
                self._answer(answer, stream=statement.stream)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(self._chunks())
        return self._exactly(int(self.headers.get("Content-Length") or 0))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0] or b"-1", 16):
            yield self._exactly(size)
            self.rfile.readline()
        while self.rfile.readline() not in (b"\r\n", b"\n", b""):
            pass

    def _exactly(self, size: int) -> bytes:
        # A client that died half way must not leave half an insert behind.
        data = self.rfile.read(size) if size >= 0 else b""
        if size < 0 or len(data) != size:
            raise ConnectionAbortedError(f"the body ended after {len(data)} of {size} bytes")
        return data

    def _answer(self, answer: Answer, *, stream: bool) -> None:
        headers = {
            "Content-Type": "text/plain; charset=UTF-8",
            "X-ClickHouse-Format": answer.format,
            "X-ClickHouse-Summary": json.dumps({k: str(v) for k, v in answer.summary.items()}),
        }
        if answer.summary or not stream:
            self._reply(200, headers, b"".join(answer.chunks))
            return
        self._head(200, {**headers, "Transfer-Encoding": "chunked"})
        self.flush_headers()
        try:
            for chunk in answer.chunks:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            self.wfile.write(b"0\r\n\r\n")
        except RuntimeError as error:
            # Half an answer is out: without the last chunk the client knows that it is cut off.
            log.warning("stream broken off: %s", error)
            self.close_connection = True

    def _fail(self, code: int, text: str) -> None:
        body = f"{text} (version {self.server.engine.version})\n".encode()
        headers = {
            "Content-Type": "text/plain; charset=UTF-8",
            "X-ClickHouse-Exception-Code": str(code),
        }
        self._reply(http_status(code), headers, body)

    def _reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self._head(status, {**headers, "Content-Length": str(len(body))})
        self.flush_headers()
        self.wfile.write(body)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        query = dict(parse_qsl(urlsplit(self.path).query))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("X-ClickHouse-Query-Id", query.get("query_id") or str(uuid.uuid4()))
        self.send_header("X-ClickHouse-Timezone", self.server.engine.timezone)
        self.send_header("X-ClickHouse-Server-Display-Name", "shoploop")
        self._headers_buffer.append(b"\r\n")  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged."""

    def version_string(self) -> str:
        """The server's name in answers."""
        return "shoploop"
