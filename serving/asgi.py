"""The ASGI application: routes by the table of operations, guards, bounds, and problems.

It reads a call, finds its handler, lets `serving/web.py` answer, and sends what comes. It knows no
question and no answer. Nothing stands between server and handler but this file: each layer would
cost every request.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import msgspec

from adapters.access_check import ANYONE, Caller
from schemas.errors import Denied, FeedbackError
from schemas.http_routes import BY_NAME, Operation
from schemas.ids import derived_id, new_id
from serving.access import Access
from serving.idempotency import key_of
from serving.problems import problem_of
from serving.repeats import SharedRepeats
from serving.responses import Response, problem_response
from serving.routes import Routes

MAX_BODY_BYTES = 1_048_576
BODY_WITHIN_S = 10.0
_NAMED = re.compile(r"[\x21-\x7e]{1,128}")
_JSON_TYPE = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)

log = logging.getLogger(__name__)
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Call:
    """One call of a handler: `made_id` names its question when the question has no name itself.

    `trace` names the call, in its response and its problem.
    """

    operation: Operation
    parameters: Mapping[str, str]
    body: bytes
    caller: Caller
    made_id: str
    trace: str = ""


Handler = Callable[[Call], Awaitable[Response]]


class Face:
    """Answers every HTTP call of a process.

    Args:
        handlers: by operation name, all of them.
        access: whose call it is, and what they may ask.
        refused: is told the reason of each problem.
        repeats: what was answered under which Idempotency-Key; by default in this process alone.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        access: Access,
        refused: Callable[[str], None],
        repeats: SharedRepeats | None = None,
    ) -> None:
        if handlers.keys() != BY_NAME.keys():
            raise ValueError(f"no handler, or no operation: {handlers.keys() ^ BY_NAME.keys()}")
        self._handlers = handlers
        self._access = access
        self._refused = refused
        self._routes = Routes(BY_NAME.values())
        self._repeats = repeats or SharedRepeats()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speaks ASGI 3: one HTTP call."""
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is spoken here, not {scope['type']}")
        headers = dict(scope["headers"])
        named = headers.get(b"x-request-id", b"").decode("latin-1")
        made_id = new_id()
        trace = named if _NAMED.fullmatch(named) else made_id
        operation: Operation | None = None
        try:
            operation, parameters = self._routes.find(scope["method"], raw_path(scope))
            scope["path_template"] = operation.path
            caller = ANYONE
            if operation.scope is not None:
                caller = self._access.check(scope["headers"], operation.scope)
            body = await read_body(headers, receive) if operation.method == "POST" else b""
            call = Call(operation, parameters, body, caller, made_id, trace)
            response = await self._answered(call, headers)
        except FeedbackError as error:
            response = self._problem(error, operation, trace)
        except Exception as error:  # the caller gets a problem, the log the rest
            log.error("a handler failed", exc_info=error)
            response = self._problem(error, operation, trace)
        await _send(send, response, trace)

    async def _answered(self, call: Call, headers: Mapping[bytes, bytes]) -> Response:
        """What the handler says; under a key that was used before, what it said then."""
        handler = self._handlers[call.operation.name]
        key = headers.get(b"idempotency-key")
        if key is None or call.operation.method != "POST":
            return _limited(await handler(call), call.caller)
        path = "/".join([call.operation.name, *call.parameters.values()])
        made_id = derived_id("call", call.caller.identity, path, key_of(key.decode("latin-1")))
        before = await self._repeats.begin(made_id, call.body)
        if before is not None:
            return _limited(before, call.caller)
        response = None
        try:
            response = await handler(replace(call, made_id=made_id))
        finally:
            await self._repeats.end(made_id, response)
        return _limited(response, call.caller)

    def _problem(self, error: Exception, operation: Operation | None, trace: str) -> Response:
        problem, headers = problem_of(error, operation)
        self._refused(problem.type.rpartition(":")[2])
        return problem_response(msgspec.structs.replace(problem, request_id=trace), headers)


def raw_path(scope: Scope) -> bytes:
    """The path as it was sent, still percent-encoded, without the query."""
    raw: bytes | None = scope.get("raw_path")
    return raw.partition(b"?")[0] if raw is not None else str(scope["path"]).encode()


async def read_body(
    headers: Mapping[bytes, bytes], receive: Receive, within_s: float = BODY_WITHIN_S
) -> bytes:
    """The body of a call.

    Raises:
        Denied: 413 beyond the bound, 415 when it says that it is not JSON or is compressed, 408
            when it does not come in time.
    """
    media = headers.get(b"content-type", b"").decode("latin-1")
    if media and not _JSON_TYPE.fullmatch(media):
        raise Denied(415, "media_type", f"the body is {media[:100]!r}, expected application/json")
    coding = headers.get(b"content-encoding", b"identity").decode("latin-1")
    if coding.lower() != "identity":
        raise Denied(415, "media_type", f"the body is coded as {coding[:100]!r}, send it as it is")
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and (len(length) > 12 or int(length) > MAX_BODY_BYTES):
        _too_large()
    try:
        async with asyncio.timeout(within_s):
            return await _parts(receive)
    except TimeoutError as error:
        text = f"the body did not come within {within_s:g} s"
        raise Denied(408, "too_slow", text) from error


async def _parts(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Denied(400, "malformed", "the caller left")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > MAX_BODY_BYTES:
            _too_large()
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large() -> NoReturn:
    raise Denied(413, "too_large", f"the body has more than {MAX_BODY_BYTES} bytes")


def _limited(response: Response, caller: Caller) -> Response:
    """The response with what the caller is told of its rate, unless the handler has said it."""
    return response if response.headers else response._replace(headers=caller.headers)


async def _send(send: Send, response: Response, trace: str) -> None:
    headers = [
        (b"content-type", response.media.encode()),
        (b"content-length", str(len(response.body)).encode()),
        (b"x-request-id", trace.encode()),
        *((name.lower().encode(), value.encode("latin-1")) for name, value in response.headers),
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
