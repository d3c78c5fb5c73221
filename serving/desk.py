"""Requests of every kind, whoever brings them: checked, answered, made records, kept.

The shop's own ids end here: an answer is computed and logged under pseudonyms. It knows no
transport.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from adapters.clock import wall_ms
from adapters.kafka import topic_name
from core.degrading import MODEL_FAILED
from core.masking import masked, place_of
from core.partition_share import share_of
from core.pseudonyms import Pepper
from core.settings import Settings
from schemas import topics
from schemas.codec import cloud_headers, encode
from schemas.errors import InvalidEvent
from schemas.predictions import Prediction, RecommendRequest, RequestRecord, SimilarRequest
from serving.answer import Moment, answer
from serving.breakers import Breakers
from serving.engine import Engine
from serving.ledger import Ledger
from serving.outbox import Outgoing
from serving.rules_file import RulesFile
from serving.state import Live
from serving.traces import Traces

Listed = RecommendRequest | SimilarRequest


class WordsDesk(Protocol):
    """Answers the requests that bring words: a search's, or a text's to be classified."""

    def checked(self, request: Any) -> Any:
        """The request itself; raises InvalidEvent when it cannot be served here."""

    def answer(self, batch: list[Any], moment: Moment) -> list[Prediction]:
        """One answer per request, in order; all are of the desk's own type."""


class Desk:
    """Answers requests and keeps the answers.

    Args:
        settings: the task, and what topics are called.
        process: who signs the answers.
        live: state and versions.
        ledger: where answers are safe.
        pepper: makes pseudonyms, where the shop wants them.
        words: who answers requests of other types than lists of items.
        traces: what requests belong to, and how long their parts take.
        rules: what the shop wants of its lists.
    """

    def __init__(
        self,
        settings: Settings,
        process: str,
        live: Live,
        ledger: Ledger,
        pepper: Pepper | None = None,
        words: dict[type, WordsDesk] | None = None,
        traces: Traces | None = None,
        rules: RulesFile | None = None,
    ) -> None:
        self._rules = rules
        self._explored = settings.explore_per_10000
        self.breakers = Breakers(settings, live)
        self.traces = traces or Traces()
        self.task = settings.task
        self._share = share_of(settings.served_partitions)
        self._pepper = pepper
        self._process = process
        self._live = live
        self._ledger = ledger
        self._words = dict(words or {})
        self._topic = topic_name(settings, topics.PREDICTIONS)

    def also(self, words: Mapping[type, WordsDesk]) -> None:
        """Has these answer the requests of their types."""
        self._words.update(words)

    def checked(self, request: RequestRecord) -> RequestRecord:
        """The request itself; raises InvalidEvent for one that is not served here."""
        self._share.check(request.visitor_id)
        if request.as_of_ms is not None and not self._live.merge.in_replay:
            # An answer's time moves the loop's clock: one of next year would end every window.
            raise InvalidEvent("as_of_ms", "as_of_ms is accepted in replay only")
        self.traces.keep(request.request_id)
        words = self._words.get(type(request))
        if words is not None:
            words.checked(request)
            return request
        if isinstance(request, RecommendRequest | SimilarRequest) and request.task == self.task:
            return request
        raise InvalidEvent("unknown_task", f"task {request.task!r}, expected {self.task!r}")

    def answer(self, batch: list[RequestRecord], arrived_s: float) -> list[Prediction]:
        """One answer per request, in order; lists are all from one engine and one state."""
        with self.traces.part("answer", batch, arrived_s):
            return self._answered(batch, Moment(wall_ms(), arrived_s, self._process))

    def _answered(self, batch: list[RequestRecord], moment: Moment) -> list[Prediction]:
        known = [masked(request, self._pepper) for request in batch]
        found: dict[int, Prediction] = {}
        lists = {
            p: r for p, r in enumerate(known) if isinstance(r, RecommendRequest | SimilarRequest)
        }
        if lists:
            found.update(zip(lists, self._lists(list(lists.values()), moment), strict=True))
        for kind, desk in self._words.items():
            mine = {place: r for place, r in enumerate(known) if isinstance(r, kind)}
            if mine:
                found.update(zip(mine, desk.answer(list(mine.values()), moment), strict=True))
        return [found[place] for place in range(len(batch))]

    def record(self, batch: Sequence[RequestRecord], answers: Sequence[Prediction]) -> None:
        """Returns once the answers are safe: they will be on `predictions`, once each.

        Raises:
            Unavailable: the spool or the disk is full.
        """
        with self.traces.part("log", batch):
            self._ledger.put(list(map(self.outgoing, batch, answers)))

    def outgoing(self, request: RequestRecord, prediction: Prediction) -> Outgoing:
        """The answer to a request as a record, in the partition of its visitor's events."""
        headers = cloud_headers("prediction", prediction.prediction_id, self._process)
        headers += self.traces.header(request.request_id)
        key = prediction.visitor_id.encode()
        to = place_of(request.visitor_id, self._pepper)
        return Outgoing(self._topic, key, encode(prediction), headers, to)

    def _lists(self, batch: list[Listed], moment: Moment) -> list[Prediction]:
        with self._live.lock:
            engine = self._live.versions.engine
            moment = replace(moment, circuits=self.breakers.open(engine))
            book = self._rules.book if self._rules is not None else None
            began_s = time.perf_counter()
            found = answer(self._live.state, engine, batch, moment, book, self._explored)
            took_ms = (time.perf_counter() - began_s) * 1e3
        if MODEL_FAILED not in moment.circuits:
            self._tell(engine, batch, found, took_ms)
        return found

    def _tell(
        self, engine: Engine, batch: list[Listed], found: list[Prediction], took_ms: float
    ) -> None:
        """Says whether the champion computed, for those that it was asked for."""
        failed = [
            given.degraded == MODEL_FAILED
            for request, given in zip(batch, found, strict=True)
            if engine.answers(request.visitor_id)[1] == "champion"
            and (given.arm != "fallback" or given.degraded == MODEL_FAILED)
        ]
        if failed:
            self.breakers.computed(not all(failed), took_ms)
