"""Sends the calls of `shoploop/calls.py` over HTTP, and again where that may help.

Both clients keep up to 100 connections open; use them as context managers, or `close` them, and
make one for a process, not one for a request.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TypeVar

try:
    import httpx
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("the client needs httpx: install `shoploop[client]`") from error

from schemas.events import ShopEvent
from schemas.http import (
    ClassifyQuestion,
    EventsTaken,
    Explanation,
    Feedback,
    FeedbackTaken,
    ListAnswer,
    ListReply,
    RecommendQuestion,
    SearchAnswer,
    SearchQuestion,
    SearchReply,
    SimilarQuestion,
    TextAnswer,
    TextReply,
)
from shoploop import calls
from shoploop.calls import Attempt, Call, Plan

TIMEOUT_S, RETRIES, WAIT_S = 5.0, 2, 10.0
_MOST = 100
_LIMITS = httpx.Limits(
    max_connections=_MOST, max_keepalive_connections=_MOST, keepalive_expiry=20.0
)
"""An idle connection is let go before serving, which waits 30 s, closes it."""
_T = TypeVar("_T")
_E = type[BaseException] | None


class Client:
    """A client for threads; one may be shared by several.

    Every method raises `Refused`, `Busy` or `Unreachable` (`shoploop/errors.py`). A batch gives one
    answer per question, in order, each with a reply or a problem. More methods than ten: one per
    operation.

    Args:
        url: where serving answers, such as `https://shoploop.example:18080`.
        key: an API key or a token, where one is needed.
        timeout_s: of connecting, of sending and of waiting for an answer, each time it is tried.
        retries: how often a call is sent again when the network fails or the server says later.
        wait_s: a call is not sent again when more than this would have passed since it began. A
            page that can wait for .3 s wants `timeout_s=0.3, wait_s=0.3`. Where more than 100
            calls are made at once, the others wait so long for a connection.
        transport: another way to send: for tests, or with a CA of your own
            (`httpx.HTTPTransport(verify=context)`).

    Raises:
        ValueError: `url` has no scheme or no host, or `key` has a blank or a newline in it.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        retries: int = RETRIES,
        wait_s: float = WAIT_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._plan = Plan(retries, wait_s)
        self._http = httpx.Client(
            base_url=_base(url),
            headers=_headers(key),
            timeout=httpx.Timeout(timeout_s, pool=wait_s),
            limits=_LIMITS,
            transport=transport,
        )

    def recommend(self, question: RecommendQuestion) -> ListReply:
        """What to show a visitor on a surface."""
        return self._do(calls.recommend(question))

    def recommend_batch(self, questions: Sequence[RecommendQuestion]) -> list[ListAnswer]:
        """The same for up to 100 questions."""
        return self._do(calls.recommend_batch(questions)).answers

    def similar(self, question: SimilarQuestion) -> ListReply:
        """What goes with an item, or in its place."""
        return self._do(calls.similar(question))

    def similar_batch(self, questions: Sequence[SimilarQuestion]) -> list[ListAnswer]:
        """The same for up to 100 questions."""
        return self._do(calls.similar_batch(questions)).answers

    def search(self, question: SearchQuestion) -> SearchReply:
        """Items for words."""
        return self._do(calls.search(question))

    def search_batch(self, questions: Sequence[SearchQuestion]) -> list[SearchAnswer]:
        """The same for up to 100 searches."""
        return self._do(calls.search_batch(questions)).answers

    def classify(self, task: str, question: ClassifyQuestion) -> TextReply:
        """Labels, or a number, for a text."""
        return self._do(calls.classify(task, question))

    def classify_batch(self, task: str, questions: Sequence[ClassifyQuestion]) -> list[TextAnswer]:
        """The same for up to 100 texts."""
        return self._do(calls.classify_batch(task, questions)).answers

    def events(self, happened: Sequence[ShopEvent]) -> EventsTaken:
        """Says what shoppers did; refused events are named in the reply."""
        return self._do(calls.events(happened))

    def feedback(self, verdict: Feedback) -> FeedbackTaken:
        """Says what somebody thinks of an answer."""
        return self._do(calls.feedback(verdict))

    def explain(self, prediction_id: str) -> Explanation:
        """Why the items of an answer stand where they stand."""
        return self._do(calls.explain(prediction_id))

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: _E, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _do(self, call: Call[_T]) -> _T:
        begun, retry = time.monotonic(), 0
        while True:
            attempt = self._send(call)
            passed_s = time.monotonic() - begun
            pause_s = self._plan.pause_s(attempt, retry, passed_s, random.random())
            if pause_s is None:
                return calls.read(call, attempt)
            time.sleep(pause_s)
            retry += 1

    def _send(self, call: Call[_T]) -> Attempt:
        try:
            response = self._http.request(
                call.method, call.path, content=call.body, headers=dict(call.headers)
            )
        except httpx.RequestError as error:
            return _failed(error)
        return _attempt(response)


class AsyncClient:
    """The same for asyncio, one event loop each; every method is `Client`'s and raises the same."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        retries: int = RETRIES,
        wait_s: float = WAIT_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._plan = Plan(retries, wait_s)
        self._http = httpx.AsyncClient(
            base_url=_base(url),
            headers=_headers(key),
            timeout=httpx.Timeout(timeout_s, pool=wait_s),
            limits=_LIMITS,
            transport=transport,
        )

    async def recommend(self, question: RecommendQuestion) -> ListReply:
        """What to show a visitor on a surface."""
        return await self._do(calls.recommend(question))

    async def recommend_batch(self, questions: Sequence[RecommendQuestion]) -> list[ListAnswer]:
        """The same for up to 100 questions."""
        return (await self._do(calls.recommend_batch(questions))).answers

    async def similar(self, question: SimilarQuestion) -> ListReply:
        """What goes with an item, or in its place."""
        return await self._do(calls.similar(question))

    async def similar_batch(self, questions: Sequence[SimilarQuestion]) -> list[ListAnswer]:
        """The same for up to 100 questions."""
        return (await self._do(calls.similar_batch(questions))).answers

    async def search(self, question: SearchQuestion) -> SearchReply:
        """Items for words."""
        return await self._do(calls.search(question))

    async def search_batch(self, questions: Sequence[SearchQuestion]) -> list[SearchAnswer]:
        """The same for up to 100 searches."""
        return (await self._do(calls.search_batch(questions))).answers

    async def classify(self, task: str, question: ClassifyQuestion) -> TextReply:
        """Labels, or a number, for a text."""
        return await self._do(calls.classify(task, question))

    async def classify_batch(
        self, task: str, questions: Sequence[ClassifyQuestion]
    ) -> list[TextAnswer]:
        """The same for up to 100 texts."""
        return (await self._do(calls.classify_batch(task, questions))).answers

    async def events(self, happened: Sequence[ShopEvent]) -> EventsTaken:
        """Says what shoppers did; refused events are named in the reply."""
        return await self._do(calls.events(happened))

    async def feedback(self, verdict: Feedback) -> FeedbackTaken:
        """Says what somebody thinks of an answer."""
        return await self._do(calls.feedback(verdict))

    async def explain(self, prediction_id: str) -> Explanation:
        """Why the items of an answer stand where they stand."""
        return await self._do(calls.explain(prediction_id))

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: _E, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def _do(self, call: Call[_T]) -> _T:
        begun, retry = time.monotonic(), 0
        while True:
            attempt = await self._send(call)
            passed_s = time.monotonic() - begun
            pause_s = self._plan.pause_s(attempt, retry, passed_s, random.random())
            if pause_s is None:
                return calls.read(call, attempt)
            await asyncio.sleep(pause_s)
            retry += 1

    async def _send(self, call: Call[_T]) -> Attempt:
        try:
            response = await self._http.request(
                call.method, call.path, content=call.body, headers=dict(call.headers)
            )
        except httpx.RequestError as error:
            return _failed(error)
        return _attempt(response)


def _base(url: str) -> str:
    try:
        parsed = httpx.URL(url)
        is_whole = parsed.scheme in ("http", "https") and bool(parsed.host)
    except httpx.InvalidURL:
        is_whole = False
    if not is_whole:
        raise ValueError(f"{url!r} is no address of serving: say http://HOST:PORT")
    return url


def _headers(key: str | None) -> dict[str, str]:
    # An error of the transport about such a header would quote it, into somebody's log.
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise ValueError("the key has characters that no key has, such as a blank or a newline")
    return {"Authorization": f"Bearer {key}"} if key else {}


def _attempt(response: httpx.Response) -> Attempt:
    return Attempt(
        response.status_code,
        response.content,
        response.headers.get("retry-after", ""),
        host=response.url.netloc.decode("ascii"),
    )


def _failed(error: httpx.RequestError) -> Attempt:
    if isinstance(error, httpx.PoolTimeout):
        text = f"none of this client's {_MOST} connections came free: make fewer calls at once"
        error = httpx.PoolTimeout(text, request=error.request)
    return Attempt(error=error, host=error.request.url.netloc.decode("ascii"))
