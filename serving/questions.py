"""Questions as they come over HTTP, made into the records that are answered and logged."""

from __future__ import annotations

import msgspec

from schemas.codec import MAX_QUESTION_BYTES, Decoder
from schemas.errors import InvalidEvent
from schemas.http import (
    Asked,
    ClassifyQuestion,
    Feedback,
    RecommendQuestion,
    SearchQuestion,
    SimilarQuestion,
)
from schemas.predictions import (
    ClassifyRequest,
    RecommendRequest,
    RequestRecord,
    SearchRequest,
    SimilarRequest,
)

RECORDS: dict[str, tuple[type[Asked], type[RequestRecord]]] = {
    "recommend": (RecommendQuestion, RecommendRequest),
    "similar": (SimilarQuestion, SimilarRequest),
    "search": (SearchQuestion, SearchRequest),
    "classify": (ClassifyQuestion, ClassifyRequest),
}
"""Kind of question: what is asked over HTTP, and the record it becomes."""


class Reading:
    """Makes one kind's questions into requests."""

    def __init__(self, kind: str) -> None:
        question, self.record = RECORDS[kind]
        self._decode = Decoder(question, MAX_QUESTION_BYTES)

    def __call__(self, data: bytes, made_id: str, task: str | None = None) -> RequestRecord:
        """The request in a body.

        Args:
            data: the question as JSON.
            made_id: its id when it brings none.
            task: the one of the path, where the path names it.

        Raises:
            InvalidEvent: empty, too_large, malformed, invalid.

        >>> Reading("recommend")(b'{"session_id": "s", "k": 3}', "r-1").visitor_id
        's'
        """
        question: Asked = self._decode(data)
        fields = msgspec.structs.asdict(question)
        fields["visitor_id"] = visitor_of(question)
        fields["request_id"] = question.request_id or made_id
        if task is not None:
            fields["task"] = task
        return self.record(**fields)


def visitor_of(asked: Asked | Feedback) -> str:
    """Who is asked about: the visitor, else the session; raises InvalidEvent when neither is."""
    visitor = asked.visitor_id or asked.session_id
    if visitor is None:
        raise InvalidEvent(
            "invalid", "Object missing required field `visitor_id` (a `session_id` would do)"
        )
    return visitor
