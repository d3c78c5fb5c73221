"""Everything that answers words, put together for one replica: searches and texts.

It builds and connects, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Event, Thread

from adapters.home import home_of
from adapters.text_version import SearchVersion, TextVersion
from core.admission import limits_of
from core.settings import Settings
from schemas.models import ModelLog
from schemas.predictions import ClassifyRequest, SearchRequest
from serving.batching import Batcher
from serving.desk import Desk
from serving.guard import Guard
from serving.metrics import Metrics
from serving.rules_file import RulesFile
from serving.search_items import SearchItems
from serving.searching import SearchDesk
from serving.text_versions import TextVersions
from serving.texts import TextDesk

VECTORS = "vectors"


class Words:
    """What answers searches and texts, each with a queue of its own, and what keeps it current.

    Args:
        settings: which tasks are served.
        process: this replica's name.
        announce: takes each `model_log` entry.
        metrics: where the figures go.
        desk: has its searches and texts answered here.
        rules: what the shop wants of searches.
    """

    def __init__(
        self,
        settings: Settings,
        process: str,
        announce: Callable[[ModelLog], None],
        metrics: Metrics,
        desk: Desk,
        rules: RulesFile | None = None,
    ) -> None:
        self.items = SearchItems(settings, process, home_of(settings) / "serving" / VECTORS)
        self.versions = TextVersions(settings, process, announce, self.items.covers)
        desk.also(
            {
                SearchRequest: SearchDesk(
                    settings, self.items, self.versions, rules=rules, breakers=desk.breakers.graphs
                ),
                ClassifyRequest: TextDesk(settings, self.versions, breakers=desk.breakers.graphs),
            }
        )
        self.batchers: dict[type, Batcher] = {
            kind: Batcher(name, desk.answer, limits_of(settings), desk.record, metrics)
            for kind, name in ((SearchRequest, "searches"), (ClassifyRequest, "texts"))
        }
        self._threads: list[Thread] = []
        self._show(metrics)

    def start(self, guard: Guard) -> None:
        """Answers, follows pointers and items, and makes vectors, until the guard stops it."""

        def held() -> list[TextVersion]:
            return self.versions.held

        self._threads = [
            *(
                guard.start(each.name, partial(each.run, Event()))
                for each in self.batchers.values()
            ),
            guard.start("text-versions", lambda: self.versions.follow(guard.stopping)),
            guard.start("search-items", lambda: self.items.follow(guard.stopping)),
            guard.start("search-vectors", lambda: self.items.embed(held, guard.stopping)),
        ]

    def close(self) -> list[Thread]:
        """From here on nothing is admitted; the threads end once what waits is answered."""
        for each in self.batchers.values():
            each.close()
        return self._threads

    def _show(self, metrics: Metrics) -> None:
        figures: tuple[tuple[str, str, Callable[[], float]], ...] = (
            ("search_items", "Items that a search can find.", lambda: len(self.items.index)),
            ("search_vectors_ratio", "Part of the items that have a vector.", self._share),
            ("search_prepared_ratio", "The same of a version about to take over.", self._prepared),
            ("search_vectors_bytes", "Bytes of all vectors.", lambda: self.items.vectors_bytes),
            ("text_versions", "Text tasks with a version.", lambda: len(self.versions.loaded)),
            ("text_versions_bytes", "Bytes of their files.", lambda: self.versions.size_bytes),
            ("text_swaps", "Their swaps since the start.", lambda: self.versions.swaps),
            ("text_refusals", "Their refusals since the start.", lambda: self.versions.refusals),
        )
        for name, told, figure in figures:
            metrics.gauge(name, told, figure)

    def _share(self) -> float:
        loaded = [one for one in self.versions.loaded.values() if isinstance(one, SearchVersion)]
        return min((self.items.share(one.version) for one in loaded), default=1.0)

    def _prepared(self) -> float:
        coming = [one.version for one in self.versions.preparing.values()]
        return min((self.items.share(one.version) for one in coming), default=1.0)
