"""The HTTP face: what each operation of `schemas/http_routes.py` does.

A reply is sent once what it speaks of is safe: an answer in the ledger, events with the broker. It
decides nothing: requests go to the same desk as those asked over Kafka. Handlers neither compute
nor wait for Kafka in the event loop: answers come from the workers of batches, the rest from
threads.
"""

from __future__ import annotations

from functools import cache

from schemas.http import Health
from schemas.http_routes import TEXT
from schemas.openapi import openapi_text
from serving.asgi import Call, Face
from serving.front import Front
from serving.questions import RECORDS
from serving.responses import Response, json_response
from serving.web_questions import Questions
from serving.web_records import Records, Threads

MOST_EXPLAINED_AT_ONCE = 8


def app(front: Front) -> Face:
    """The application over what the process is made of."""
    kinds = {name: Questions(front, name) for name in RECORDS}
    records, looks = Records(front), _Looks(front)
    handlers = {
        **{name: each.one for name, each in kinds.items()},
        **{f"{name}_batch": each.many for name, each in kinds.items()},
        "events": records.events,
        "feedback": records.feedback,
        "explain": looks.explain,
        "healthz": looks.healthz,
        "metrics": looks.figures,
        "openapi": looks.document,
    }
    return Face(handlers, front.access, front.metrics.refused, front.repeats)


class _Looks:
    """The handlers that only look."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._thread = Threads("explain", 1, MOST_EXPLAINED_AT_ONCE)

    async def explain(self, call: Call) -> Response:
        """Takes an answer apart."""
        name = call.parameters["prediction_id"]
        found = await self._thread.run(lambda: self._front.explainer.of(name))
        call.caller.check(surface=found.surface, task=found.task)
        return json_response(200, found)

    async def healthz(self, _call: Call) -> Response:
        """Whether requests may be sent here, and what would answer."""
        front = self._front
        champion = front.live.versions.engine.champion
        health = Health(
            ready=front.ready,
            model_version=champion.version if champion is not None else None,
            seen_ms=front.live.state.seen_ms,
            degraded=list(front.missing()),
        )
        return json_response(200 if front.ready else 503, health)

    async def figures(self, _call: Call) -> Response:
        """Figures for Prometheus."""
        return Response(200, self._front.metrics.text().encode(), TEXT)

    async def document(self, _call: Call) -> Response:
        """The OpenAPI document."""
        return Response(200, _document())


@cache
def _document() -> bytes:
    return openapi_text().encode()
