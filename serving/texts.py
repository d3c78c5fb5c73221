"""Answers to texts: labels with probabilities, or a number, by the newest version of a text task.

One code path for HTTP and Kafka, one run of the graph for each task of a batch. What a text says is
logged only where the operator asks for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.onnx import GRAPH_ERRORS
from adapters.text_version import LabellingVersion
from core.degrading import MODEL_FAILED, NO_MODEL
from core.query_text import plain_text
from core.scrub import scrubbed
from core.settings import Settings
from core.text_labels import best_labels, probabilities
from schemas.errors import InvalidEvent
from schemas.ids import derived_id
from schemas.predictions import ClassifyRequest, Label, Prediction
from serving.answer import POLICY, Moment
from serving.graph_breakers import TEXTS, Graph, GraphBreakers
from serving.text_versions import TextVersions

SURFACE = "classify"
MOST_LOGGED = 1_000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Said:
    """What a version says of one text, or why it says nothing."""

    version: str = ""
    labels: list[Label] = field(default_factory=list)
    value: float | None = None
    degraded: str | None = None


class TextDesk:
    """Answers texts from the versions that are in use now.

    Args:
        settings: whether texts are logged, and whose telephone numbers are taken out.
        versions: the versions by task.
        clock: seconds, as `Moment.arrived_s` is measured.
        breakers: which versions are left alone for a while.
    """

    def __init__(
        self,
        settings: Settings,
        versions: TextVersions,
        clock: Callable[[], float] = time.perf_counter,
        breakers: GraphBreakers | None = None,
    ) -> None:
        self._breakers = breakers or GraphBreakers()
        self._logs_texts = settings.log_texts
        self._region = settings.phone_region
        self._versions = versions
        self._clock = clock

    def checked(self, request: ClassifyRequest) -> ClassifyRequest:
        """The request itself.

        Raises:
            InvalidEvent: no such text task is served here.
        """
        task, loaded = request.task, self._versions.loaded.get(request.task)
        known = task in self._versions.known if loaded is None else True
        if not known or (loaded is not None and not isinstance(loaded, LabellingVersion)):
            names = [
                name
                for name, version in self._versions.loaded.items()
                if isinstance(version, LabellingVersion)
            ]
            there = f"there are: {', '.join(sorted(names)) or 'none yet'}"
            raise InvalidEvent(
                "unknown_task", f"{task!r} is no task of texts that is served here; {there}"
            )
        return request

    def answer(self, batch: Sequence[ClassifyRequest], moment: Moment) -> list[Prediction]:
        """One answer per request, in order; without a version it has no labels and says why."""
        said: dict[int, Said] = {}
        loaded = self._versions.loaded
        for task in dict.fromkeys(request.task for request in batch):
            places = [at for at, request in enumerate(batch) if request.task == task]
            version = loaded.get(task)
            found = self._said(
                task,
                version if isinstance(version, LabellingVersion) else None,
                [batch[at] for at in places],
            )
            said.update(zip(places, found, strict=True))
        return [self._prediction(one, said[at], moment) for at, one in enumerate(batch)]

    def _said(
        self, task: str, version: LabellingVersion | None, batch: Sequence[ClassifyRequest]
    ) -> list[Said]:
        if version is None:
            return [Said(degraded=NO_MODEL)] * len(batch)
        graph = Graph(TEXTS, task, version.version)
        if not self._breakers.allows(graph):
            return [Said(degraded=MODEL_FAILED)] * len(batch)
        try:
            texts = [(plain_text(one.text), plain_text(one.pair)) for one in batch]
            outputs = version.outputs(texts)
        except GRAPH_ERRORS as error:
            log.error("version %s failed on %d texts: %s", version.version, len(batch), error)
            self._breakers.told(graph, good=False)
            return [Said(degraded=MODEL_FAILED)] * len(batch)
        self._breakers.told(graph, good=True)
        return _said(version, outputs, batch)

    def _prediction(self, request: ClassifyRequest, said: Said, moment: Moment) -> Prediction:
        text = f"{request.text}\n{request.pair}" if request.pair else request.text
        logged = scrubbed(text, self._region)[:MOST_LOGGED] if self._logs_texts else None
        return Prediction(
            prediction_id=derived_id("prediction", request.request_id, POLICY),
            request_id=request.request_id,
            visitor_id=request.visitor_id,
            task=request.task,
            surface=SURFACE,
            served_at_ms=request.as_of_ms if request.as_of_ms is not None else moment.wall_ms,
            policy=POLICY,
            arm="champion" if said.version else "fallback",
            model_version=said.version,
            weights_version="",
            slots=[],
            session_id=request.session_id,
            query=logged,
            degraded=said.degraded,
            latency_ms=round((self._clock() - moment.arrived_s) * 1e3, 3),
            served_by=moment.served_by,
            labels=said.labels,
            value=said.value,
        )


def _said(version: LabellingVersion, outputs: Any, batch: Sequence[ClassifyRequest]) -> list[Said]:
    name = version.version
    if version.card.kind == "regress":
        return [Said(name, value=float(row[0])) for row in outputs]
    shares, labels = probabilities(outputs), version.card.labels
    return [
        Said(name, best_labels(row, labels, request.k))
        for row, request in zip(shares, batch, strict=True)
    ]
