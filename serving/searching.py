"""Answers to searches: a learned blend orders what was found, a cross-encoder reads the best few
for as long as there is time.

One code path for HTTP and Kafka. It changes nothing but its estimate of what a pair costs, and
knows no transport.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from adapters.onnx import GRAPH_ERRORS
from adapters.text_version import SEARCH, SearchVersion
from core.degrading import MODEL_FAILED, NO_MODEL
from core.pair_budget import PairCost, next_pairs
from core.rules_in_force import SEARCH as SURFACE
from core.scrub import scrubbed
from core.search_blend import linear_blend
from core.search_columns import CROSS
from core.search_order import finite, least_for_unread, order
from core.settings import Settings
from schemas.errors import InvalidEvent
from schemas.ids import derived_id
from schemas.predictions import PINNED_SOURCE, Context, Prediction, SearchRequest, Slot
from serving.answer import POLICY, Moment
from serving.finding import FOUND, Finder, Floats, Found
from serving.graph_breakers import CROSS as CROSS_FAILED
from serving.graph_breakers import Graph, GraphBreakers
from serving.rules_file import RulesFile
from serving.search_items import SearchItems
from serving.text_versions import TextVersions

PAIR = "pair"
PARTIAL = "vectors_partial"
MOST_QUERY = 1_000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listed:
    """The order: places among the candidates with their scores, best first, and the features.

    `odds` of each candidate, shape (n,), are with what boosts add, and for rules alone.
    """

    places: list[tuple[int, float]]
    odds: Floats
    features: Floats | None
    version: str
    degraded: str | None

    @property
    def order(self) -> list[int]:
        """The candidates, best first."""
        return [place for place, _ in self.places]


class SearchDesk:
    """Answers searches from the items and the versions that are in use now.

    Args:
        settings: the budget, and whose telephone numbers are taken out of what is logged.
        items: what can be found.
        versions: the search versions by task.
        clock: seconds, as `Moment.arrived_s` is measured.
        rules: what the shop wants of searches.
        breakers: which graphs are left alone for a while.
    """

    def __init__(
        self,
        settings: Settings,
        items: SearchItems,
        versions: TextVersions,
        clock: Callable[[], float] = time.perf_counter,
        rules: RulesFile | None = None,
        breakers: GraphBreakers | None = None,
    ) -> None:
        self._breakers = breakers or GraphBreakers()
        self.cost = PairCost()
        self._budget_s = settings.search_budget_ms / 1e3
        self._region = settings.phone_region
        self._items = items
        self._finder = Finder(items, rules, self._breakers)
        self._versions = versions
        self._clock = clock

    def checked(self, request: SearchRequest) -> SearchRequest:
        """The request itself.

        Raises:
            InvalidEvent: no such search task is served here.
        """
        task, loaded = request.task, self._versions.loaded.get(request.task)
        known = task == SEARCH or task in self._versions.known
        if not known or (loaded is not None and not isinstance(loaded, SearchVersion)):
            loaded_here = self._versions.loaded.items()
            names = {name for name, one in loaded_here if isinstance(one, SearchVersion)}
            there = f"there are: {', '.join(sorted({SEARCH, *names}))}"
            raise InvalidEvent(
                "unknown_task", f"{task!r} is no search that is served here; {there}"
            )
        return request

    def answer(self, batch: Sequence[SearchRequest], moment: Moment) -> list[Prediction]:
        """One answer per request, in order; no text makes it fail."""
        answers = []
        for place, request in enumerate(batch):
            until_s = self._until_s(request, moment, len(batch) - place)
            answers.append(self._one(request, moment, until_s))
        return answers

    def _until_s(self, request: SearchRequest, moment: Moment, left: int) -> float:
        """When this answer should be ready: what is left of the budget is for all that wait."""
        budget_s = self._budget_s
        if request.deadline_ms is not None:
            budget_s = min(budget_s, request.deadline_ms / 2e3)
        now_s = self._clock()
        return now_s + max(0.0, moment.arrived_s + budget_s - now_s) / left

    def _one(self, request: SearchRequest, moment: Moment, until_s: float) -> Prediction:
        loaded = self._versions.loaded.get(request.task)
        version = loaded if isinstance(loaded, SearchVersion) else None
        found = self._finder.find(request, version, _at_ms(request, moment))
        listed = None if version is None else self._ranked(request.task, found, version, until_s)
        listed = listed or _plain(found, NO_MODEL if version is None else MODEL_FAILED)
        return self._prediction(request, moment, found, listed)

    def _ranked(
        self, task: str, found: Found, version: SearchVersion, until_s: float
    ) -> Listed | None:
        """The order by the version's blend; None when none of its graphs had a say."""
        blend = version.blend
        found.columns[CROSS] = np.full(len(found.item_ids), np.nan)
        table = np.stack([found.columns[name] for name in blend.columns], axis=1)
        degraded, unheard = found.degraded, found.degraded == MODEL_FAILED
        if degraded is None and self._items.share(version.version) < 1.0:
            degraded = PARTIAL
        if CROSS in blend.columns:
            column = blend.columns.index(CROSS)
            pinned = found.rules.pinned
            first = [at for at, _ in _order(found, table, version) if at not in pinned]
            read, failed = self._heard(task, found, version, first, until_s)
            for place, logit in read.items():
                table[place, column] = logit
                found.sources[place].append(PAIR)
            table = least_for_unread(table, column, blend)
            unheard = unheard and not read
            degraded = MODEL_FAILED if failed else degraded
        if unheard:
            return None
        places = _order(found, table, version)
        odds = linear_blend(table, blend) + found.rules.terms
        return Listed(places, odds, finite(table, blend), version.version, degraded)

    def _heard(
        self, task: str, found: Found, version: SearchVersion, first: list[int], until_s: float
    ) -> tuple[dict[int, float], bool]:
        """As `_read`, unless the graph is left alone: then as if it had failed."""
        graph = Graph(CROSS_FAILED, task, version.version)
        if not self._breakers.allows(graph):
            return {}, True
        read, failed = self._read(found, version, first, until_s)
        if read or failed:
            self._breakers.told(graph, good=not failed)
        return read, failed

    def _read(
        self, found: Found, version: SearchVersion, first: list[int], until_s: float
    ) -> tuple[dict[int, float], bool]:
        """The cross-encoder's logits of the best few, as many as fit; whether it failed."""
        read: dict[int, float] = {}
        limit = min(len(first), FOUND)
        while True:
            began_s = self._clock()
            some = next_pairs(self.cost, (until_s - began_s) * 1e3, limit - len(read))
            if not some:
                if not read and began_s < until_s:
                    self.cost = self.cost.eased()
                return read, False
            places = first[len(read) : len(read) + some]
            try:
                logits = version.pair_logits(found.words.text, [found.titles[at] for at in places])
            except GRAPH_ERRORS as error:
                log.error("version %s failed on %d pairs: %s", version.version, some, error)
                return read, True
            self.cost = self.cost.after(some, (self._clock() - began_s) * 1e3)
            read.update(zip(places, logits.tolist(), strict=True))

    def _prediction(
        self, request: SearchRequest, moment: Moment, found: Found, listed: Listed
    ) -> Prediction:
        region = self._region
        return Prediction(
            prediction_id=derived_id("prediction", request.request_id, POLICY),
            request_id=request.request_id,
            visitor_id=request.visitor_id,
            task=request.task,
            surface=SURFACE,
            served_at_ms=_at_ms(request, moment),
            policy=POLICY,
            arm="champion" if listed.version else "fallback",
            model_version=listed.version,
            weights_version="",
            slots=_slots(found, listed, self._finder.shown(found, listed.order, listed.odds)),
            context=Context(
                exclude_item_ids=request.exclude_item_ids,
                filters=request.filters,
                diversity=found.wanted.diversity,
                rules=found.wanted.name,
                corrected_query=scrubbed(found.words.corrected, region)[:MOST_QUERY],
            ),
            session_id=request.session_id,
            query=scrubbed(request.query, region)[:MOST_QUERY],
            degraded=listed.degraded,
            latency_ms=round((self._clock() - moment.arrived_s) * 1e3, 3),
            served_by=moment.served_by,
        )


def _at_ms(request: SearchRequest, moment: Moment) -> int:
    return request.as_of_ms if request.as_of_ms is not None else moment.wall_ms


def _order(found: Found, table: Floats, version: SearchVersion) -> list[tuple[int, float]]:
    return order(found.item_ids, table, version.blend, found.exact, found.rules.terms)


def _plain(found: Found, degraded: str) -> Listed:
    """The order of BM25 alone, exact ones first; the odds of an item are one over its rank."""
    lead = float(found.bm25.max(initial=0.0)) + 1.0
    scores = [
        score + lead * (item_id in found.exact)
        for item_id, score in zip(found.item_ids, found.bm25.tolist(), strict=True)
    ]
    ranked = sorted(range(len(scores)), key=lambda at: (-scores[at], found.item_ids[at]))
    odds = found.rules.terms.copy()
    odds[ranked] -= np.log(np.arange(1, len(ranked) + 1))
    ranked.sort(key=lambda at: (found.item_ids[at] not in found.exact, -odds[at]))
    return Listed([(at, scores[at]) for at in ranked], odds, None, "", degraded)


def _slots(found: Found, listed: Listed, shown: list[int]) -> list[Slot]:
    """The list that is shown; of what is pinned nothing is to be learned."""
    table, pinned, scores = listed.features, found.rules.pinned, dict(listed.places)
    return [
        Slot(
            item_id=found.item_ids[place],
            position=position,
            score=scores[place],
            source=PINNED_SOURCE if place in pinned else "+".join(found.sources[place]),
            features=[]
            if table is None or place in pinned
            else [round(one, 6) for one in table[place].tolist()],
        )
        for position, place in enumerate(shown, start=1)
    ]
