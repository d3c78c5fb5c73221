"""Requests of many connections, answered together: what waits is taken in one pass.

The event loop puts requests in and awaits answers; one worker thread computes. Nothing waits for a
batch to fill: under light load a batch is one request, under heavy load as many as came meanwhile.
It knows neither what a request means nor how an answer is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol

from core.admission import Limits, Load, Pace, Refusal, admit
from schemas.errors import DeadlineExceeded, Overloaded, Unavailable
from schemas.predictions import Prediction, RequestRecord
from serving.one_pass import Answer, Clock, OnePass, Record, Result

_LOOK_S = 0.2  # how soon an idle worker sees that the process is stopping


class Watch(Protocol):
    """Who is told of a queue; all calls are made often and return at once."""

    def batch(self, name: str, size: int, took_s: float) -> None:
        """A pass over `size` requests took so many seconds."""

    def shed(self, name: str, reason: str) -> None:
        """A request was not answered: over_share, over_capacity or deadline."""


@dataclass(frozen=True, eq=False)
class _Waiting:
    request: RequestRecord
    caller: str
    arrived_s: float
    deadline_s: float
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Prediction]

    @property
    def gone(self) -> bool:
        """Whether its connection was closed meanwhile."""
        return self.future.cancelled()


class Batcher:
    """A bounded queue of requests and the one thread that answers it.

    `ask` and `ask_many` belong to one event loop; `run` is the worker's.

    Args:
        name: what it is called in logs and figures.
        answer: gives one answer per request, in order, given when the first arrived.
        limits: queue, deadline and batch size.
        record: returns once answers are safe; only then are they given. Raises Unavailable.
        watch: is told of batches and of what is not answered.
        clock: seconds; what `arrived_s` of an answer is measured from.
    """

    def __init__(
        self,
        name: str,
        answer: Answer,
        limits: Limits,
        record: Record,
        watch: Watch | None = None,
        clock: Clock = time.perf_counter,
    ) -> None:
        self.name = name
        self._limits = limits
        self._pass = OnePass(name, answer, record, clock)
        self._clock = clock
        self._watch = watch
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._ahead = 0
        self._of_caller: Counter[str] = Counter()
        self._pace = Pace()
        self._closed = False
        self._gate = threading.Lock()  # nothing enters the queue after the mark that ends it

    @property
    def waiting(self) -> int:
        """Requests that wait or are being answered."""
        return self._ahead

    async def ask(self, request: RequestRecord, caller: str = "") -> Prediction:
        """The answer, once it is safe.

        `caller` tells callers apart for their share of the queue; "" has no share to keep to.

        Raises:
            Overloaded: too many wait already.
            DeadlineExceeded: it could not be answered in time.
            Unavailable: the process is stopping, or answers cannot be kept.
            InvalidEvent: whatever `answer` raises for this request.
        """
        deadline_s = self._deadline_of(request)
        self._admit(caller, deadline_s, 1)
        return await self._enter(request, caller, deadline_s)

    async def ask_many(self, requests: Sequence[RequestRecord], caller: str = "") -> list[Result]:
        """One answer or error per request, in order; they are admitted together or not at all.

        Raises:
            Overloaded, Unavailable: as `ask`, for all of them.
        """
        if not requests:
            return []
        deadlines = [self._deadline_of(request) for request in requests]
        self._admit(caller, min(deadlines), len(requests))
        futures = [
            self._enter(request, caller, deadline_s)
            for request, deadline_s in zip(requests, deadlines, strict=True)
        ]
        found = await asyncio.gather(*futures, return_exceptions=True)
        return [_result(each) for each in found]

    def close(self) -> None:
        """From here on nothing is admitted; `run` ends once it has answered what waits."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._queue.put(None)

    def run(self, stopping: threading.Event) -> None:
        """The worker: answers until `close`, or until `stopping` is set, what was admitted."""
        ended = False
        while not ended:
            batch, ended = self._take()
            if batch:
                self._answer(batch)
            if stopping.is_set():
                self.close()

    def _deadline_of(self, request: RequestRecord) -> float:
        if request.deadline_ms is not None:
            return request.deadline_ms / 1e3
        return self._limits.deadline_s

    def _admit(self, caller: str, deadline_s: float, requests: int) -> None:
        load = Load(self._ahead, self._pace, self._of_caller[caller] if caller else None)
        refusal = admit(load, self._limits, deadline_s, requests)
        if refusal is not None:
            self._shed(refusal.reason)
            raise _overloaded(self.name, load, refusal)

    def _enter(
        self, request: RequestRecord, caller: str, deadline_s: float
    ) -> asyncio.Future[Prediction]:
        loop = asyncio.get_running_loop()
        now_s = self._clock()
        future: asyncio.Future[Prediction] = loop.create_future()
        waiting = _Waiting(request, caller, now_s, now_s + deadline_s, loop, future)
        with self._gate:
            if self._closed:
                raise Unavailable("the process is stopping")
            self._queue.put(waiting)
        self._ahead += 1
        if caller:
            self._of_caller[caller] += 1
        return future

    def _take(self) -> tuple[list[_Waiting], bool]:
        """What waits, up to a batch, after a moment's wait for the first; whether it has ended."""
        batch: list[_Waiting] = []
        try:
            found = self._queue.get(timeout=_LOOK_S)
            while found is not None:
                batch.append(found)
                if len(batch) == self._limits.batch:
                    return batch, False
                found = self._queue.get_nowait()
            return batch, True
        except Empty:
            return batch, False

    def _answer(self, batch: list[_Waiting]) -> None:
        began_s = self._clock()
        results, computed = self._pass.results(batch)
        took_s = self._clock() - began_s
        if computed:
            self._pace = self._pace.measured(took_s, computed)
            if self._watch is not None:
                self._watch.batch(self.name, computed, took_s)
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            batch[0].loop.call_soon_threadsafe(self._resolve, batch, results)

    def _resolve(self, batch: list[_Waiting], results: list[Result]) -> None:
        """In the event loop: gives each its answer or error."""
        self._ahead -= len(batch)
        for waiting, result in zip(batch, results, strict=True):
            self._leave(waiting.caller)
            if waiting.future.done():  # its connection was closed
                continue
            if isinstance(result, Prediction):
                waiting.future.set_result(result)
                continue
            if isinstance(result, DeadlineExceeded):
                self._shed("deadline")
            waiting.future.set_exception(result)

    def _leave(self, caller: str) -> None:
        if caller:
            self._of_caller[caller] -= 1
            if self._of_caller[caller] <= 0:
                del self._of_caller[caller]

    def _shed(self, reason: str) -> None:
        if self._watch is not None:
            self._watch.shed(self.name, reason)


def _result(found: Prediction | BaseException) -> Result:
    """An error as a result; what ends the process goes on as it is."""
    if isinstance(found, Prediction | Exception):
        return found
    raise found


def _overloaded(name: str, load: Load, refusal: Refusal) -> Overloaded:
    by_caller = refusal.reason == "over_share"
    waiting = load.of_caller if by_caller else load.ahead
    whose = " of this caller" if by_caller else ""
    return Overloaded(
        f"{name}: {waiting} requests{whose} wait; try again in {refusal.retry_after_s:.0f} s",
        refusal.retry_after_s,
        by_caller=by_caller,
    )
