"""Every call of the interface as a value: how it is sent, and what its response means. No I/O."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from schemas.events import ShopEvent
from schemas.http import (
    ClassifyQuestion,
    EventsTaken,
    Explanation,
    Feedback,
    FeedbackTaken,
    ListAnswers,
    ListReply,
    Problem,
    RecommendQuestion,
    SearchAnswers,
    SearchQuestion,
    SearchReply,
    SimilarQuestion,
    TextAnswers,
    TextReply,
)
from shoploop.errors import Busy, Refused, ShoploopError, Unreachable

Reply = TypeVar("Reply")
NOT_NOW = frozenset({409, 429, 502, 503, 504})
AGAIN = NOT_NOW - {504}
"""Worth trying again. A deadline that was missed is not: the time that was left is over."""
_BASE_S = 0.1


@dataclass(frozen=True)
class Call(Generic[Reply]):
    """One call. It may be sent any number of times: it does its work once.

    Questions and verdicts carry an idempotency key; events are told apart by their ids.
    """

    method: str
    path: str
    reply: type[Reply]
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Attempt:
    """What became of sending a call once: a response, or the error of the network."""

    status: int = 0
    content: bytes = b""
    retry_after: str = ""
    error: Exception | None = None
    host: str = ""

    @property
    def is_worth_another(self) -> bool:
        """Whether the same call may do better after a while."""
        return self.error is not None or self.status in AGAIN


@dataclass(frozen=True)
class Plan:
    """How often a call is sent again, and until how long after it began."""

    retries: int
    wait_s: float

    def pause_s(self, attempt: Attempt, retry: int, passed_s: float, chance: float) -> float | None:
        """Seconds before the call is sent again; None when it is not.

        Args:
            attempt: the newest.
            retry: 0 before the first repetition.
            passed_s: since the call began.
            chance: from 0 to 1, so that callers who failed together do not return together.

        >>> plan = Plan(retries=2, wait_s=10.0)
        >>> plan.pause_s(Attempt(503, retry_after="2"), retry=0, passed_s=0.0, chance=0.5)
        2.05
        >>> plan.pause_s(Attempt(429, retry_after="2"), retry=1, passed_s=9.0, chance=0.5)
        >>> plan.pause_s(Attempt(400), retry=0, passed_s=0.0, chance=0.5)
        """
        if retry >= self.retries or not attempt.is_worth_another:
            return None
        found = _seconds(attempt.retry_after) + _BASE_S * 2.0**retry * chance
        return found if passed_s + found <= self.wait_s else None


def recommend(question: RecommendQuestion) -> Call[ListReply]:
    """What to show."""
    return _post("/v1/recommend", question, ListReply)


def recommend_batch(questions: Sequence[RecommendQuestion]) -> Call[ListAnswers]:
    """What to show, many times."""
    return _post("/v1/recommend/batch", {"requests": questions}, ListAnswers)


def similar(question: SimilarQuestion) -> Call[ListReply]:
    """What goes with an item."""
    return _post("/v1/similar", question, ListReply)


def similar_batch(questions: Sequence[SimilarQuestion]) -> Call[ListAnswers]:
    """What goes with items."""
    return _post("/v1/similar/batch", {"requests": questions}, ListAnswers)


def search(question: SearchQuestion) -> Call[SearchReply]:
    """Items for words."""
    return _post("/v1/search", question, SearchReply)


def search_batch(questions: Sequence[SearchQuestion]) -> Call[SearchAnswers]:
    """Items for many words."""
    return _post("/v1/search/batch", {"requests": questions}, SearchAnswers)


def classify(task: str, question: ClassifyQuestion) -> Call[TextReply]:
    """Labels for a text."""
    return _post(f"/v1/classify/{_segment(task)}", question, TextReply)


def classify_batch(task: str, questions: Sequence[ClassifyQuestion]) -> Call[TextAnswers]:
    """Labels for texts."""
    path = f"/v1/classify/{_segment(task)}/batch"
    return _post(path, {"requests": questions}, TextAnswers)


def events(happened: Sequence[ShopEvent]) -> Call[EventsTaken]:
    """What shoppers did; each event's id makes it count once."""
    return _post("/v1/events", list(happened), EventsTaken)


def feedback(verdict: Feedback) -> Call[FeedbackTaken]:
    """A verdict on an answer."""
    return _post("/v1/feedback", verdict, FeedbackTaken)


def explain(prediction_id: str) -> Call[Explanation]:
    """Why an answer is what it is."""
    return Call("GET", f"/v1/explain/{_segment(prediction_id)}", Explanation)


def read(call: Call[Reply], attempt: Attempt) -> Reply:
    """The reply in a response.

    Raises:
        Refused, Busy, Unreachable: there is none.

    >>> read(explain("p"), Attempt(404, b'{"type": "t", "title": "None", "status": 404, '
    ...                                 b'"detail": "no answer has this id"}'))
    Traceback (most recent call last):
        ...
    shoploop.errors.Refused: 404 None: no answer has this id
    """
    if attempt.error is not None:
        said = str(attempt.error) or type(attempt.error).__name__
        raise Unreachable(f"{attempt.host}{call.path}: {said}") from attempt.error
    if attempt.status >= 300:
        raise _error(attempt)
    try:
        return msgspec.json.decode(attempt.content, type=call.reply)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreachable(
            f"{attempt.host}{call.path} was not answered by shoploop: {error}"
        ) from error


def _post(path: str, value: Any, reply: type[Reply]) -> Call[Reply]:
    headers = {"Content-Type": "application/json", "Idempotency-Key": f'"{uuid.uuid4()}"'}
    return Call("POST", path, reply, msgspec.json.encode(value), headers)


def _segment(name: str) -> str:
    return quote(name, safe="")


def _error(attempt: Attempt) -> ShoploopError:
    try:
        problem = msgspec.json.decode(attempt.content, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = attempt.content[:200].decode("utf-8", "replace")
        title = "not a problem of shoploop's"
        problem = Problem(type="about:blank", title=title, status=attempt.status, detail=text)
    if attempt.status in NOT_NOW:
        return Busy(problem, _seconds(attempt.retry_after))
    return Refused(problem)


def _seconds(retry_after: str) -> float:
    """Seconds of a Retry-After header; 0 when it is missing, or a date."""
    return float(retry_after) if retry_after.isdecimal() and len(retry_after) < 10 else 0.0
