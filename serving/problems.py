"""Errors as problem details: which status, which headers, which field.

Source: RFC 9457. Knows no route and sends nothing.
"""

from __future__ import annotations

import math
import re

from msgspec.structs import replace

from schemas.errors import (
    DeadlineExceeded,
    Denied,
    FeedbackError,
    InvalidEvent,
    Overloaded,
    Unavailable,
)
from schemas.http import Problem, ProblemError
from schemas.http_routes import Operation

URN = "urn:shoploop:problem:"
_TITLES = {
    "conflict": "The same call is being answered",
    "deadline_exceeded": "No answer in time",
    "empty": "There is nothing in the body",
    "internal": "An error of ours",
    "invalid": "A field cannot be used",
    "key_reused": "The Idempotency-Key belongs to another body",
    "malformed": "The body is not JSON",
    "misdirected": "Another process serves this visitor",
    "media_type": "The body's type is not taken",
    "method_not_allowed": "The method is not taken here",
    "not_found": "There is no such thing",
    "overloaded": "Too many requests wait",
    "too_large": "The body is too large",
    "too_slow": "The body did not come in time",
    "unavailable": "Not now",
    "unknown_prediction": "There is no such answer",
    "unknown_task": "No such task is served here",
}
_DENIED = {
    "expired": "The key has ended",
    "invalid": "The key or token is not accepted",
    "missing": "A key or a token is needed",
    "place": "The key is not for this place",
    "rate": "Too many requests",
    "scope": "The key is not allowed this",
}
_PATH = re.compile(r"at `(?P<path>\$[^`]*)`")
_MISSING = re.compile(r"missing required field `(?P<field>[^`]+)`")
_ABSENT = frozenset({"unknown_task", "unknown_prediction"})
Headers = tuple[tuple[str, str], ...]


def problem_of(error: Exception, operation: Operation | None) -> tuple[Problem, Headers]:
    """The problem, and the headers that go with it; what is not ours is an internal one.

    >>> from schemas.http_routes import BY_NAME
    >>> problem, _ = problem_of(InvalidEvent("invalid", "Expected `int` - at `$.k`"), None)
    >>> problem.status, problem.errors[0].path
    (400, '$.k')
    >>> problem_of(InvalidEvent("unknown_task", "tone"), BY_NAME["classify"])[0].status
    404
    >>> problem_of(Denied(401, "invalid", "not known"), None)[0].title
    'The key or token is not accepted'
    >>> problem_of(Overloaded("full", 1.2), None)[1]
    (('Retry-After', '2'),)
    """
    match error:
        case Denied():
            problem = _problem(error.status, error.reason, error)
            title = _DENIED.get(error.reason, problem.title)
            return replace(problem, title=title), error.headers
        case InvalidEvent():
            return _problem(_status(error, operation), error.reason, error), ()
        case Overloaded():
            after = str(max(1, math.ceil(error.retry_after_s)))
            status = 429 if error.by_caller else 503
            return _problem(status, "overloaded", error), (("Retry-After", after),)
        case DeadlineExceeded():
            return _problem(504, "deadline_exceeded", error), ()
        case Unavailable():
            return _problem(503, "unavailable", error), (("Retry-After", "1"),)
    text = FeedbackError("an error that should not happen; it is in the log")
    return _problem(500, "internal", text), ()


def path_of(message: str) -> str | None:
    """The path of the field that a decoder complains of, from `$`.

    >>> path_of("Object missing required field `query`"), path_of("not JSON")
    ('$.query', None)
    >>> path_of("Object missing required field `item_id` - at `$.items[0]`")
    '$.items[0].item_id'
    """
    found, missing = _PATH.search(message), _MISSING.search(message)
    path = found["path"] if found else "$"
    if missing:
        return f"{path}.{missing['field']}"
    return path if found else None


def _status(error: InvalidEvent, operation: Operation | None) -> int:
    if error.reason == "too_large":
        return 413
    if error.reason == "misdirected":
        return 421
    absent = error.reason in _ABSENT and operation is not None and 404 in operation.problems
    return 404 if absent else 400


def _problem(status: int, kind: str, error: FeedbackError) -> Problem:
    detail = str(error)
    path = path_of(detail) if kind == "invalid" else None
    errors = [ProblemError(reason=kind, message=detail, path=path)] if path else []
    title = _TITLES.get(kind, kind.replace("_", " ").capitalize())
    return Problem(type=URN + kind, title=title, status=status, detail=detail, errors=errors)
