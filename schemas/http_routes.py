"""The table of HTTP operations: paths, bodies, replies, statuses and scopes.

The server routes by it and the OpenAPI document is made from it, so that neither can say what the
other does not. Holds no handler.
"""

from typing import Annotated, Any, Literal

import msgspec

from schemas import http
from schemas.events import ShopEvent

JSON, PROBLEM_JSON = "application/json", "application/problem+json"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
Events = (
    ShopEvent | Annotated[list[ShopEvent], msgspec.Meta(min_length=1, max_length=http.MOST_EVENTS)]
)
PROBLEMS: dict[int, str] = {
    400: "The body cannot be used; `errors` says where.",
    401: "A key or a token is needed.",
    403: "The key is not allowed this.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    409: "A call with the same Idempotency-Key is still being answered.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    421: "Another process serves this visitor; `detail` names the partition.",
    422: "The Idempotency-Key was used with another body.",
    429: "Too many requests of this caller; Retry-After says when to come back.",
    500: "A bug or a broken disk; the log has it.",
    503: "Not now; Retry-After says when to come back.",
    504: "No answer within the request's deadline.",
}
_GUARDED = (401, 403, 429, 500, 503)
_POSTED = (400, *_GUARDED, 408, 409, 413, 415, 422)
_ASKED = (*_POSTED, 421, 504)


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path.

    `scope` is what a key needs, "" for any valid key, None for no key at all. `replies` maps a
    status to what its body holds (a type, or str for plain text) and what it means.
    """

    name: str
    method: Literal["GET", "POST"]
    path: str
    summary: str
    scope: str | None
    replies: dict[int, tuple[Any, str]]
    body: Any = None
    problems: tuple[int, ...] = ()
    is_batch: bool = False

    @property
    def parameters(self) -> list[str]:
        """The names in the path, in order.

        >>> BY_NAME["classify"].parameters
        ['task']
        """
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]


def _asking(
    path: str, kind: str, body: Any, reply: Any, summary: str, *, by_task: bool
) -> Operation:
    return Operation(
        name=kind,
        method="POST",
        path=path,
        summary=summary,
        scope="recommend" if kind == "similar" else kind,
        body=body,
        replies={200: (reply, "The answer; it is on the topic `predictions`, too.")},
        problems=(*_ASKED, 404) if by_task else _ASKED,
    )


def _batch(single: Operation, body: Any, reply: Any) -> Operation:
    return msgspec.structs.replace(
        single,
        name=f"{single.name}_batch",
        path=f"{single.path}/batch",
        summary=f"{single.summary[:-1]}, up to 100 questions at once.",
        body=body,
        replies={
            200: (reply, "Every question is answered."),
            207: (reply, "Not every question is answered: each has its own status."),
        },
        is_batch=True,
    )


_RECOMMEND = _asking(
    "/v1/recommend", "recommend", http.RecommendQuestion, http.ListReply,
    "What to show a visitor on a surface.", by_task=False,
)  # fmt: skip
_SIMILAR = _asking(
    "/v1/similar", "similar", http.SimilarQuestion, http.ListReply,
    "What goes with an item, or in its place.", by_task=False,
)  # fmt: skip
_SEARCH = _asking(
    "/v1/search", "search", http.SearchQuestion, http.SearchReply,
    "Items for words.", by_task=True,
)  # fmt: skip
_CLASSIFY = _asking(
    "/v1/classify/{task}", "classify", http.ClassifyQuestion, http.TextReply,
    "Labels, or a number, for a text.", by_task=True,
)  # fmt: skip
OPERATIONS: tuple[Operation, ...] = (
    _RECOMMEND,
    _batch(_RECOMMEND, http.RecommendBatch, http.ListAnswers),
    _SIMILAR,
    _batch(_SIMILAR, http.SimilarBatch, http.ListAnswers),
    _SEARCH,
    _batch(_SEARCH, http.SearchBatch, http.SearchAnswers),
    _CLASSIFY,
    _batch(_CLASSIFY, http.ClassifyBatch, http.TextAnswers),
    Operation(
        name="events",
        method="POST",
        path="/v1/events",
        summary="What shoppers did: one event, or a list of up to 1,000.",
        scope="events",
        body=Events,
        replies={
            202: (http.EventsTaken, "Every event is on the topic `events`."),
            207: (http.EventsTaken, "Some events are; the others are named."),
        },
        problems=_POSTED,
    ),
    Operation(
        name="feedback",
        method="POST",
        path="/v1/feedback",
        summary="A verdict on an answer, in so many words.",
        scope="feedback",
        body=http.Feedback,
        replies={202: (http.FeedbackTaken, "The verdict is on the topic `events`.")},
        problems=_POSTED,
    ),
    Operation(
        name="explain",
        method="GET",
        path="/v1/explain/{prediction_id}",
        summary="Why the items of an answer stand where they stand.",
        scope="explain",
        replies={200: (http.Explanation, "The answer, taken apart.")},
        problems=(*_GUARDED, 404),
    ),
    Operation(
        name="healthz",
        method="GET",
        path="/healthz",
        summary="Whether this process answers.",
        scope=None,
        replies={
            200: (http.Health, "It does."),
            503: (http.Health, "Not yet: it is reading what has happened."),
        },
    ),
    Operation(
        name="metrics",
        method="GET",
        path="/metrics",
        summary="Figures of this process for Prometheus.",
        scope="metrics",
        replies={200: (str, "Prometheus' text format.")},
        problems=_GUARDED,
    ),
    Operation(
        name="openapi",
        method="GET",
        path="/openapi.json",
        summary="This document.",
        scope="",
        replies={200: (dict, "OpenAPI 3.1.")},
        problems=_GUARDED,
    ),
)
BY_NAME: dict[str, Operation] = {each.name: each for each in OPERATIONS}
