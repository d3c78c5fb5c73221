"""One pass over the requests that were taken together: an answer or an error for each.

An answer is given only once it is recorded, and recorded only if it can still be given. It knows
neither the queue nor who waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol, TypeGuard

from schemas.errors import DeadlineExceeded, FeedbackError
from schemas.predictions import Prediction, RequestRecord

Answer = Callable[[list[RequestRecord], float], list[Prediction]]
Record = Callable[[Sequence[RequestRecord], Sequence[Prediction]], None]
Result = Prediction | Exception
Clock = Callable[[], float]

log = logging.getLogger(__name__)


class Asked(Protocol):
    """A request, when it came and until when it is worth an answer, in seconds of
    one clock; `gone` once nobody waits for it."""

    @property
    def request(self) -> RequestRecord: ...

    @property
    def arrived_s(self) -> float: ...

    @property
    def deadline_s(self) -> float: ...

    @property
    def gone(self) -> bool: ...


def answered(
    answer: Answer, requests: Sequence[RequestRecord], arrived_s: Sequence[float]
) -> list[Result]:
    """An answer or an error for each, in order.

    In one pass; when that fails, one by one, so that a request fails by itself alone.
    """
    try:
        return list(answer(list(requests), arrived_s[0]))
    except Exception as error:  # noqa: BLE001 — each gets its own answer or error
        if len(requests) == 1:
            return [error]
    each = zip(requests, arrived_s, strict=True)
    return [answered(answer, [request], [at_s])[0] for request, at_s in each]


class OnePass:
    """Answers a batch and records the answers.

    Args:
        name: what the queue is called, for the log.
        answer: gives one answer per request, in order, given when the first arrived.
        record: returns once the answers are safe; raises Unavailable.
        clock: seconds, as in the deadlines of requests.
    """

    def __init__(self, name: str, answer: Answer, record: Record, clock: Clock) -> None:
        self._clock = clock
        self._name = name
        self._answer = answer
        self._record = record

    def results(self, batch: Sequence[Asked]) -> tuple[list[Result], int]:
        """An answer or error per request, in order; how many requests were computed."""
        results: list[Result] = list(map(_late, batch))
        asked = self._in_time(batch, range(len(batch)))
        if not asked:
            return results, 0
        answers = self._answers(batch, asked)
        for place, answer in answers.items():
            if not _is_answer(answer):
                results[place] = answer
        # What is late by now is not recorded: nobody may learn from an answer that nobody saw.
        kept = self._in_time(batch, [place for place in asked if _is_answer(answers[place])])
        results_kept = self._kept(batch, kept, answers)
        for place, result in zip(kept, results_kept, strict=True):
            results[place] = result
        return results, len(asked)

    def _answers(self, batch: Sequence[Asked], places: list[int]) -> dict[int, Result]:
        """By place; what no error of ours explains is in the log."""
        requests = [batch[place].request for place in places]
        results = answered(self._answer, requests, [batch[place].arrived_s for place in places])
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, FeedbackError):
                log.error("%s: a request failed", self._name, exc_info=result)
        return dict(zip(places, results, strict=True))

    def _kept(
        self, batch: Sequence[Asked], places: list[int], answers: dict[int, Result]
    ) -> list[Result]:
        """The answers of these places, recorded; or, for all of them, why they could not be."""
        given = [answer for place in places if _is_answer(answer := answers[place])]
        if not given:
            return []
        try:
            self._record([batch[place].request for place in places], given)
        except FeedbackError as error:
            return [error] * len(given)
        return list(given)

    def _in_time(self, batch: Sequence[Asked], places: Sequence[int]) -> list[int]:
        now_s = self._clock()
        return [p for p in places if batch[p].deadline_s > now_s and not batch[p].gone]


def _late(asked: Asked) -> Result:
    return DeadlineExceeded(f"no answer within {(asked.deadline_s - asked.arrived_s) * 1e3:.0f} ms")


def _is_answer(result: Result) -> TypeGuard[Prediction]:
    return isinstance(result, Prediction)
