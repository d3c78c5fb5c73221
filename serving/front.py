"""What the handlers of the HTTP face share, put together once by the process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Protocol

from adapters.access_check import Caller
from core.rules_in_force import SEARCH
from core.surfaces import SIMILAR
from schemas.errors import InvalidEvent, Unavailable
from schemas.predictions import (
    ClassifyRequest,
    Prediction,
    RecommendRequest,
    RequestRecord,
    SearchRequest,
    SimilarRequest,
)
from serving.access import Access
from serving.desk import Desk
from serving.explained import Explainer
from serving.intake import EventIntake
from serving.metrics import Metrics
from serving.repeats import SharedRepeats
from serving.state import Live
from serving.texts import SURFACE as CLASSIFY

_SURFACES = {SimilarRequest: SIMILAR, SearchRequest: SEARCH, ClassifyRequest: CLASSIFY}
"""Where answers to questions that name no surface are shown."""


class Ask(Protocol):
    """Who answers requests of some types; `serving.batching.Batcher` is one."""

    async def ask(self, request: RequestRecord, caller: str = "") -> Prediction:
        """The answer, once it is safe."""

    async def ask_many(
        self, requests: Sequence[RequestRecord], caller: str = ""
    ) -> list[Prediction | Exception]:
        """One answer or error per request, in order."""


@dataclass(frozen=True)
class Front:
    """The parts of a replica that handlers use; `asks` by the type of request."""

    desk: Desk
    live: Live
    asks: Mapping[type, Ask]
    intake: EventIntake
    metrics: Metrics
    access: Access
    explainer: Explainer
    repeats: SharedRepeats = field(default_factory=SharedRepeats)
    missing: Callable[[], Sequence[str]] = tuple
    leaving: Event = field(default_factory=Event)

    @property
    def ready(self) -> bool:
        """Whether requests may be sent here."""
        return self.live.ready and not self.leaving.is_set()

    def leave(self) -> None:
        """From here on `/healthz` says 503: the process is stopping."""
        self.leaving.set()

    def admitted(self, request: RequestRecord, caller: Caller) -> Ask:
        """Who answers the request.

        Raises:
            InvalidEvent: it cannot be answered here.
            Denied: the caller may not ask it.
            Unavailable: the state is not read yet.
        """
        ask = self.asks.get(type(request))
        if ask is None:
            raise InvalidEvent("unknown_task", f"task {request.task!r} is not served here")
        caller.check(surface=_surface_of(request), task=request.task)
        self.desk.checked(request)
        if not self.live.ready:
            raise Unavailable("the state is not read yet")
        return ask

    def given(self, prediction: Prediction, arrived_s: float) -> None:
        """Counts an answer and remembers it for explanations."""
        self.metrics.answered("http", [prediction], time.perf_counter() - arrived_s)
        self.explainer.remember(prediction)


def _surface_of(request: RequestRecord) -> str:
    return request.surface if isinstance(request, RecommendRequest) else _SURFACES[type(request)]
