"""The handlers of what a shop says: events, and verdicts on answers.

Both wait for the broker, so they do it in a few threads of their own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from msgspec.structs import replace

from adapters.clock import wall_ms
from schemas.codec import Decoder, encode
from schemas.errors import InvalidEvent, Overloaded
from schemas.events import FeedbackGiven
from schemas.http import EventsTaken, Feedback, FeedbackTaken, ProblemError
from schemas.ids import derived_id
from serving.asgi import Call
from serving.front import Front
from serving.intake import ACKNOWLEDGED_WITHIN_S
from serving.problems import URN, path_of, problem_of
from serving.questions import visitor_of
from serving.responses import Response, json_response, problem_response

WRITERS, MOST_WAITING = 8, 256
_T = TypeVar("_T")


class Threads:
    """A few threads for what blocks, and a bound to what waits for them; for one event loop."""

    def __init__(self, name: str, threads: int, most: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._name = name
        self._most = most
        self._waiting = 0

    async def run(self, call: Callable[[], _T]) -> _T:
        """What the call returns or raises; raises Overloaded when too many wait."""
        if self._waiting >= self._most:
            raise Overloaded(f"{self._name}: {self._waiting} calls wait", 1.0)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call)
        finally:
            self._waiting -= 1


class Records:
    """Takes events and verdicts."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._threads = Threads("events", WRITERS, MOST_WAITING)
        self._feedback = Decoder(Feedback)

    async def events(self, call: Call) -> Response:
        """Passes the good events on; names the bad ones."""
        taken = await self._take(call.body)
        if taken.accepted:
            return json_response(207 if taken.errors else 202, taken)
        return self._none_taken(taken, call.trace)

    async def feedback(self, call: Call) -> Response:
        """Passes a verdict on as an event."""
        given: Feedback = self._feedback(call.body)
        event = FeedbackGiven(
            event_id=given.event_id or derived_id("feedback", call.made_id),
            event_time_ms=wall_ms() if given.event_time_ms is None else given.event_time_ms,
            visitor_id=visitor_of(given),
            session_id=given.session_id,
            surface=given.surface,
            prediction_id=given.prediction_id,
            request_id=given.request_id,
            verdict=given.verdict,
            item_id=given.item_id,
        )
        taken = await self._take(encode(event))
        if taken.errors:
            raise InvalidEvent(taken.errors[0].reason, taken.errors[0].message)
        return json_response(202, FeedbackTaken(event_id=event.event_id))

    async def _take(self, body: bytes) -> EventsTaken:
        until_s = time.monotonic() + ACKNOWLEDGED_WITHIN_S
        # Without a broker the turn comes late: who waited for it is not to wait as long again.
        taken = await self._threads.run(
            lambda: self._front.intake.take(body, until_s - time.monotonic())
        )
        self._front.metrics.events(taken.accepted, len(taken.errors))
        return taken

    def _none_taken(self, taken: EventsTaken, trace: str) -> Response:
        """The problem of a call without a good event."""
        errors = [
            ProblemError(
                reason=each.reason,
                message=each.message,
                index=each.index,
                path=path_of(each.message),
            )
            for each in taken.errors
        ]
        problem, _ = problem_of(InvalidEvent("invalid", "no event was accepted"), None)
        self._front.metrics.refused(problem.type.removeprefix(URN))
        return problem_response(replace(problem, errors=errors, request_id=trace))
