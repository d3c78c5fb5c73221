"""What crosses HTTP: questions as a shop asks them, replies, and problems.

A question is the record of `schemas/predictions.py` without what the server can give: its id, and
the visitor where a session stands for them. Unknown fields are ignored. Knows no route: those are
in `schemas/http_routes.py`.
"""

from typing import Annotated, Generic, TypeVar

import msgspec

from schemas.events import Id, Millis, Query
from schemas.http_explained import Explanation as Explanation
from schemas.predictions import (
    Count,
    DeadlineMs,
    Diversity,
    Filters,
    ItemIds,
    Label,
    Surface,
    check_band,
)

MOST_IN_BATCH = 100
MOST_EVENTS = 1_000
Verdict = Annotated[float, msgspec.Meta(ge=-1, le=1)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]
_T = TypeVar("_T")


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who asks. One of `visitor_id` and `session_id` is needed; alone, a session is the visitor.

    `request_id` names the question: asked twice, it gets one `prediction_id`. The server gives one
    where the shop does not.
    """

    request_id: Id | None = None
    visitor_id: Id | None = None
    session_id: Id | None = None
    as_of_ms: Millis | None = None
    deadline_ms: DeadlineMs | None = None


class AskedForItems(Asked, frozen=True, kw_only=True, omit_defaults=True):
    """What questions for items have in common: how many, which not, and which at all."""

    k: Count = 10
    exclude_item_ids: ItemIds = []
    filters: Filters | None = None

    def __post_init__(self) -> None:
        """Refuses a band that holds no price."""
        check_band(self.filters)


class RecommendQuestion(AskedForItems, frozen=True, kw_only=True, omit_defaults=True):
    """What to show this visitor; `candidate_item_ids`, where given, are ranked and nothing else.

    `history_item_ids` (newest last) stands in for what is known of the visitor; `diversity` from 0
    to 1 trades relevance for items unlike each other.
    """

    surface: Surface = "home"
    task: Id = "recommend"
    candidate_item_ids: ItemIds = []
    history_item_ids: Annotated[list[Id], msgspec.Meta(max_length=200)] | None = None
    diversity: Diversity = 0.0


class SimilarQuestion(AskedForItems, frozen=True, kw_only=True, omit_defaults=True):
    """What goes with, or in place of, one item."""

    item_id: Id
    task: Id = "recommend"


class SearchQuestion(AskedForItems, frozen=True, kw_only=True, omit_defaults=True):
    """Items for words; `diversity` from 0 to 1 trades relevance for items unlike each other."""

    query: Query
    task: Id = "search"
    diversity: Diversity = 0.0


class ClassifyQuestion(Asked, frozen=True, kw_only=True, omit_defaults=True):
    """A text to be given labels, or a number; the path names the task. `pair` is a second text."""

    text: Text
    pair: Annotated[str, msgspec.Meta(max_length=10_000)] = ""
    k: Count = 5


class ShownItem(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One item of a reply, in the place it is to be shown at, counted from 1."""

    item_id: str
    title: str
    position: int
    score: float
    price: float | None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer says; `prediction_id` is the token to pass back with events.

    `degraded` is the reason why this is less than a whole answer, or null.
    """

    request_id: str
    prediction_id: str
    model_version: str
    arm: str
    degraded: str | None


class ListReply(Reply, frozen=True, kw_only=True):
    """Items to show, best first."""

    items: list[ShownItem]


class SearchReply(Reply, frozen=True, kw_only=True):
    """Items found, best first; `corrected_query` is what was searched for instead, or null."""

    items: list[ShownItem]
    corrected_query: str | None


class TextReply(Reply, frozen=True, kw_only=True):
    """Labels of a text with their probabilities, likeliest first, or the number `value`."""

    labels: list[Label]
    value: float | None


class ProblemError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong: where (`index` of a list, `path` of a field), and what."""

    reason: str
    message: str
    index: int | None = None
    path: str | None = None


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why there is no answer. Source: RFC 9457, section 3.

    `type` is `urn:shoploop:problem:` and a stable word; `errors` and `request_id` are extensions.
    """

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemError] = []
    request_id: str = ""


class Batch(msgspec.Struct, Generic[_T], frozen=True, kw_only=True):
    """Up to 100 questions of one kind; each is answered or refused by itself."""

    requests: Annotated[list[_T], msgspec.Meta(min_length=1, max_length=MOST_IN_BATCH)]


class RecommendBatch(Batch[RecommendQuestion], frozen=True, kw_only=True):
    """Questions what to show."""


class SimilarBatch(Batch[SimilarQuestion], frozen=True, kw_only=True):
    """Questions for what is similar."""


class SearchBatch(Batch[SearchQuestion], frozen=True, kw_only=True):
    """Searches."""


class ClassifyBatch(Batch[ClassifyQuestion], frozen=True, kw_only=True):
    """Texts of one task."""


class ListAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One question's answer: `status` as if it had been asked alone, and a reply or a problem."""

    status: int
    reply: ListReply | None = None
    problem: Problem | None = None


class SearchAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One search's answer: `status` as if it had been asked alone, and a reply or a problem."""

    status: int
    reply: SearchReply | None = None
    problem: Problem | None = None


class TextAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One text's answer: `status` as if it had been asked alone, and a reply or a problem."""

    status: int
    reply: TextReply | None = None
    problem: Problem | None = None


class ListAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """One answer per question, in order."""

    answers: list[ListAnswer]


class SearchAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """One answer per search, in order."""

    answers: list[SearchAnswer]


class TextAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """One answer per text, in order."""

    answers: list[TextAnswer]


class EventError(msgspec.Struct, frozen=True, kw_only=True):
    """Why one event of a call was refused; `index` counts from 0."""

    index: int
    reason: str
    message: str


class EventsTaken(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the events of one call; the accepted are on the topic `events`."""

    accepted: int
    errors: list[EventError]


class Feedback(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An explicit verdict on an answer, from -1 to 1: on one of its items, or on the whole.

    One of `visitor_id` and `session_id` is needed, the one that was asked with. Sent twice with one
    `event_id` it counts once; time and id are the server's where the shop gives none.
    """

    prediction_id: Id
    verdict: Verdict
    visitor_id: Id | None = None
    session_id: Id | None = None
    item_id: Id | None = None
    surface: Id | None = None
    request_id: Id | None = None
    event_id: Id | None = None
    event_time_ms: Millis | None = None


class FeedbackTaken(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict is on the topic `events` under this id."""

    event_id: str


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the process answers, by which version, and the newest event time it has seen.

    `degraded` names what its disk refuses: `spool` (each answer waits for the broker), `state` (it
    is not kept for the next start), `repeats` (calls made again elsewhere are not known).
    """

    ready: bool
    model_version: str | None
    seen_ms: int
    degraded: list[str] = []
