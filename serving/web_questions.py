"""The handlers of questions, one by one and in batches."""

from __future__ import annotations

import logging
import time
from typing import Any

import msgspec

from schemas.codec import Decoder
from schemas.errors import FeedbackError, InvalidEvent
from schemas.http import MOST_IN_BATCH
from schemas.ids import derived_id
from schemas.predictions import Prediction, RequestRecord
from serving.asgi import Call
from serving.front import Ask, Front
from serving.idempotency import is_passing
from serving.problems import problem_of
from serving.questions import Reading
from serving.replies import reply_of
from serving.responses import Response, json_response

log = logging.getLogger(__name__)
_Admitted = tuple[RequestRecord, Ask]


class _Raws(msgspec.Struct):
    """A batch whose questions are not looked into yet: each is refused by itself."""

    requests: list[msgspec.Raw]


class Questions:
    """Answers one kind of question."""

    def __init__(self, front: Front, kind: str) -> None:
        self._front = front
        self._read = Reading(kind)
        self._parts = Decoder(_Raws)

    async def one(self, call: Call) -> Response:
        """Answers one question."""
        arrived_s = time.perf_counter()
        request = self._read(call.body, call.made_id, call.parameters.get("task"))
        ask = self._front.admitted(request, call.caller)
        prediction = await ask.ask(request, call.caller.identity)
        return json_response(200, self._given(request, prediction, arrived_s))

    async def many(self, call: Call) -> Response:
        """Answers each question of a batch, or says why not."""
        arrived_s = time.perf_counter()
        parts = self._parts(call.body).requests
        if not 1 <= len(parts) <= MOST_IN_BATCH:
            text = f"{len(parts)} questions, expected 1 to {MOST_IN_BATCH} - at `$.requests`"
            raise InvalidEvent("invalid", text)
        caller = self._front.access.charge(call.caller, len(parts) - 1)
        read = [self._admitted(call, place, bytes(raw)) for place, raw in enumerate(parts)]
        requests = [each[0] for each in read if isinstance(each, tuple)]
        found = await self._found(call, [each for each in read if isinstance(each, tuple)])
        results = iter(zip(requests, found, strict=True))
        answers = [
            self._answer(call, next(results), arrived_s)
            if isinstance(each, tuple)
            else self._refusal(call, each)
            for each in read
        ]
        whole = all(answer["status"] == 200 for answer in answers)
        response = json_response(200 if whole else 207, {"answers": answers})
        passing = any(is_passing(answer["status"]) for answer in answers)
        return response._replace(headers=caller.headers, is_final=not passing)

    def _admitted(self, call: Call, place: int, part: bytes) -> _Admitted | FeedbackError:
        try:
            made_id = derived_id(call.made_id, str(place))
            request = self._read(part, made_id, call.parameters.get("task"))
            return request, self._front.admitted(request, call.caller)
        except FeedbackError as error:
            return error

    @staticmethod
    async def _found(call: Call, admitted: list[_Admitted]) -> list[Prediction | Exception]:
        """What became of the admitted, all of one kind: they are asked together."""
        if not admitted:
            return []
        requests = [request for request, _ in admitted]
        return await admitted[0][1].ask_many(requests, call.caller.identity)

    def _answer(
        self, call: Call, result: tuple[RequestRecord, Prediction | Exception], arrived_s: float
    ) -> dict[str, Any]:
        request, found = result
        if isinstance(found, Prediction):
            return {"status": 200, "reply": self._given(request, found, arrived_s)}
        return self._refusal(call, found)

    def _refusal(self, call: Call, error: Exception) -> dict[str, Any]:
        if not isinstance(error, FeedbackError):
            log.error("a question of a batch failed", exc_info=error)
        problem, _ = problem_of(error, call.operation)
        self._front.metrics.refused(problem.type.rpartition(":")[2])
        return {"status": problem.status, "problem": problem}

    def _given(self, request: RequestRecord, prediction: Prediction, arrived_s: float) -> Any:
        self._front.given(prediction, arrived_s)
        return reply_of(prediction, request, self._front.live.state.catalogue)
