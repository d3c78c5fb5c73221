"""The HTTP face: `/v1/recommend`, `/v1/events`, `/healthz`, `/metrics`; problem+json for errors.

A reply is sent once what it speaks of is safe: an answer in the ledger, events with the broker. It
decides nothing: requests go to the same desk as those asked over Kafka.
"""

import logging
import time
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.exceptions import HTTPException

from schemas.codec import Decoder, encode
from schemas.errors import (
    DeadlineExceeded,
    FeedbackError,
    InvalidEvent,
    Overloaded,
    Unavailable,
)
from schemas.events import Id
from schemas.ids import new_id
from schemas.predictions import Prediction, RecommendRequest
from serving.batching import Batcher
from serving.desk import Desk
from serving.intake import EventIntake
from serving.metrics import CONTENT_TYPE, Metrics
from serving.state import Live

MAX_BODY_BYTES = 1_048_576
RETRY_AFTER_S = 1.0
PROBLEM = "application/problem+json"

log = logging.getLogger(__name__)


class Question(RecommendRequest, frozen=True, kw_only=True, omit_defaults=True, tag=False):
    """A request whose id the server gives when the shop does not."""

    request_id: Id = ""


class ShownItem(msgspec.Struct, frozen=True, kw_only=True):
    """One item of a reply."""

    item_id: str
    title: str
    position: int
    score: float


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What `/v1/recommend` answers; `prediction_id` is the token to pass back with events."""

    request_id: str
    prediction_id: str
    items: list[ShownItem]
    model_version: str
    arm: str
    degraded: str | None


@dataclass(frozen=True)
class Front:
    """What the handlers need, put together once by the process."""

    desk: Desk
    live: Live
    lists: Batcher
    intake: EventIntake
    metrics: Metrics
    leaving: Event = field(default_factory=Event)

    @property
    def ready(self) -> bool:
        """Whether requests may be sent here."""
        return self.live.ready and not self.leaving.is_set()

    def leave(self) -> None:
        """From here on `/healthz` says 503: the process is stopping."""
        self.leaving.set()

    async def recommend(self, body: bytes) -> Reply:
        """The answer to one question, once it is safe.

        Raises:
            InvalidEvent: the question cannot be used.
            Overloaded: too many wait.
            DeadlineExceeded: there was no answer in time.
            Unavailable: the answer cannot be kept, or the state is not read yet.
        """
        arrived_s = time.perf_counter()
        question = _question(body)
        self.desk.checked(question)
        if question.as_of_ms is not None and not self.live.merge.in_replay:
            raise InvalidEvent("as_of_ms", "as_of_ms is accepted in replay only")
        if not self.live.ready:
            raise Unavailable("the state is not read yet")
        prediction = await self.lists.ask(question)
        self.metrics.answered("http", [prediction], time.perf_counter() - arrived_s)
        return self._reply(prediction)

    def _reply(self, prediction: Prediction) -> Reply:
        catalogue = self.live.state.catalogue
        items = [
            ShownItem(
                item_id=slot.item_id,
                title=catalogue.titles[catalogue.row_of[slot.item_id]],
                position=slot.position,
                score=slot.score,
            )
            for slot in prediction.slots
        ]
        return Reply(
            request_id=prediction.request_id,
            prediction_id=prediction.prediction_id,
            items=items,
            model_version=prediction.model_version,
            arm=prediction.arm,
            degraded=prediction.degraded,
        )


def app(front: Front) -> Litestar:
    """The routes over what the process is made of."""

    @post("/v1/recommend", status_code=200)
    async def recommend(body: bytes) -> Response[bytes]:
        return _json(200, await front.recommend(body))

    @post("/v1/events", sync_to_thread=True)
    def events(body: bytes) -> Response[bytes]:
        taken = front.intake.take(body)
        front.metrics.events(taken.accepted, len(taken.errors))
        if taken.accepted:
            return _json(207 if taken.errors else 202, taken)
        return _problem(400, "invalid", "no event was accepted", {"errors": taken.errors})

    @get("/healthz", sync_to_thread=False)
    def healthz() -> Response[bytes]:
        champion = front.live.versions.engine.champion
        body = {
            "ready": front.ready,
            "model_version": champion.version if champion is not None else None,
            "seen_ms": front.live.state.seen_ms,
        }
        return _json(200 if front.ready else 503, body)

    @get("/metrics", sync_to_thread=False)
    def metrics() -> Response[bytes]:
        return Response(front.metrics.text().encode(), media_type=CONTENT_TYPE)

    return Litestar(
        route_handlers=[recommend, events, healthz, metrics],
        request_max_body_size=MAX_BODY_BYTES,
        exception_handlers={
            FeedbackError: _feedback_problem,
            HTTPException: _http_problem,
            Exception: _bug,
        },
        openapi_config=None,
        logging_config=None,
    )


_decode_question = Decoder(Question)


def _question(body: bytes) -> Question:
    question: Question = _decode_question(body)
    if question.request_id:
        return question
    return msgspec.structs.replace(question, request_id=new_id())


def _json(status: int, value: Any) -> Response[bytes]:
    return Response(encode(value), status_code=status, media_type="application/json")


def _problem(
    status: int,
    kind: str,
    detail: str,
    more: dict[str, Any],
    retry_after_s: float = RETRY_AFTER_S,
) -> Response[bytes]:
    """A problem detail. Source: RFC 9457, section 3."""
    body = {"type": f"urn:shoploop:problem:{kind}", "title": kind, "status": status}
    headers = {"Retry-After": f"{retry_after_s:.0f}"} if status in (429, 503) else {}
    return Response(
        encode({**body, "detail": detail, **more}),
        status_code=status,
        media_type=PROBLEM,
        headers=headers,
    )


def _feedback_problem(_request: Request[Any, Any, Any], error: FeedbackError) -> Response[bytes]:
    if isinstance(error, InvalidEvent):
        return _problem(400, error.reason, str(error), {})
    if isinstance(error, Overloaded):
        status = 429 if error.by_caller else 503
        return _problem(status, "overloaded", str(error), {}, error.retry_after_s)
    if isinstance(error, DeadlineExceeded):
        return _problem(504, "deadline_exceeded", str(error), {})
    return _problem(503, "unavailable", str(error), {})


def _http_problem(_request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    kind = error.__class__.__name__.removesuffix("Exception").lower()
    return _problem(error.status_code, kind, error.detail, {})


def _bug(_request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log.error("a handler failed", exc_info=error)
    return _problem(500, "internal", "an error that should not happen; it is in the log", {})
