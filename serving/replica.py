"""A serving replica: its parts, in the order in which they begin and end. It decides nothing."""

import ssl
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event, Thread
from typing import Any

from adapters.clickhouse import dsn_of
from adapters.home import home_of
from adapters.open_files import open_files
from adapters.pepper import load_pepper
from core.admission import limits_of
from core.partition_share import share_of
from core.settings import Settings
from schemas.predictions import RecommendRequest, SimilarRequest
from serving.access import Access
from serving.answered import Answered
from serving.batching import Batcher
from serving.connections import Connections, most_of
from serving.desk import Desk
from serving.explained import Explainer
from serving.front import Ask, Front
from serving.guard import Guard
from serving.http_server import bound_socket, server_of
from serving.intake import EventIntake
from serving.item_letters import ItemLetters
from serving.ledger import Ledger
from serving.metrics import Metrics
from serving.missing import Missing
from serving.parts import Parts
from serving.repeats import SharedRepeats
from serving.requests import RequestLoop
from serving.versions import REPLICA_ROLES
from serving.web import app
from serving.web_watch import Watched
from serving.words import Words

SENT_WITHIN_S = 20.0  # the ledger gives up after less, and ends what it is doing then


class Replica:
    """Answers over Kafka and HTTP.

    Raises BadSettings and Unavailable before anything has begun.
    """

    def __init__(self, settings: Settings, guard: Guard) -> None:
        share_of(settings.served_partitions)  # a mistake is told before anything begins
        self._shared_port = settings.http_shared
        self._guard = guard
        self._access = Access.of(settings)
        self._sockets = [bound_socket(settings)] if settings.http_port else []
        pepper = load_pepper(settings)
        # Before the state is read: it says so when the name is in use.
        self._ledger = Ledger(settings, settings.name)
        self._parts = parts = Parts(settings, settings.name, REPLICA_ROLES, guard, eager=True)
        watch_spool(parts.metrics, self._ledger, settings.spool_mb * 2**20)
        live, rules, metrics = parts.live, parts.rules, parts.metrics
        desk = Desk(
            settings, parts.process, live, self._ledger, pepper, traces=parts.traces, rules=rules
        )
        metrics.collect(desk.breakers)
        self._lists = Batcher("lists", desk.answer, limits_of(settings), desk.record, metrics)
        self._loop = RequestLoop(settings, parts.process, desk, metrics)
        self._letters = ItemLetters(settings, parts.process)
        self._words = Words(settings, parts.process, parts.announce, metrics, desk, rules)
        self._repeats = SharedRepeats(Answered(home_of(settings) / "serving" / "repeats"))
        metrics.collect(self._repeats)
        self._missing = Missing(
            {
                "spool": lambda: self._ledger.is_refused,
                "state": lambda: not live.is_on_disk,
                "repeats": lambda: self._repeats.is_away,
            }
        )
        metrics.collect(self._missing)
        self._front = self._front_of(settings, desk)
        tls = self._access.tls
        watched = Watched(app(self._front), metrics, parts.traces)
        connections = Connections(most_of(settings.http_connections, open_files()))
        metrics.collect(connections)
        context = tls.context() if tls else None
        if context is not None:
            watch_certificate(metrics, context)
        self._server = server_of(watched, connections, context)

    def _front_of(self, settings: Settings, desk: Desk) -> Front:
        parts = self._parts
        merge = parts.live.merge
        intake = EventIntake(settings, parts.process, parts.outbox, lambda: merge.in_replay)
        explainer = Explainer(dsn_of(settings), lambda: parts.versions.engine)
        asks: dict[type, Ask] = {
            RecommendRequest: self._lists,
            SimilarRequest: self._lists,
            **self._words.batchers,
        }
        return Front(
            desk,
            parts.live,
            asks,
            intake,
            parts.metrics,
            self._access,
            explainer,
            self._repeats,
            lambda: self._missing.names,
        )

    def start(self) -> None:
        """Starts the threads; what answers waits until the state and the versions are known."""
        start, stopping = self._guard.start, self._guard.stopping
        self._sender = start("ledger", self._ledger.run)
        self._asked = [start("state", self._parts.follow)]
        requests = partial(self._loop.run, stopping)
        self._asked.append(start("requests", partial(self._once_ready, requests)))
        letters = partial(self._letters.run, stopping)
        self._asked.append(start("item-letters", partial(self._once_ready, letters)))
        self._batches = [start(self._lists.name, partial(self._lists.run, Event()))]
        if self._sockets:
            serve: Callable[[], None] = partial(self._server.run, self._sockets)
            # On a port that others answer on, too, who is not ready would only take callers away.
            if self._shared_port:
                serve = partial(self._once_ready, serve)
            self._asked.append(start("http", serve))
        self._words.start(self._guard)

    def stop(self) -> None:
        """Refuses what is new, answers what waits, and sends what the broker does not have."""
        self._front.leave()
        self._server.should_exit = True
        join(self._asked)
        self._lists.close()
        join(self._words.close())
        join(self._batches)
        self._ledger.finish()
        join([self._sender], SENT_WITHIN_S)
        self._ledger.close()
        self._repeats.close()
        self._access.close()
        self._parts.close()

    def _once_ready(self, run: Callable[[], None]) -> None:
        while not (self._parts.live.ready and self._words.versions.caught_up):
            if self._guard.stopping.wait(0.02):
                return
        run()


def join(threads: Sequence[Thread], within_s: float = 10.0) -> None:
    """Waits for threads to end, each for so long at most."""
    for thread in threads:
        thread.join(timeout=within_s)


def watch_certificate(metrics: Metrics, context: ssl.SSLContext) -> None:
    """Adds when the certificate in use ends."""
    followed: Any = context.sni_callback
    metrics.gauge(
        "certificate_ends_timestamp_seconds",
        "When the certificate in use ends, Unix time.",
        lambda: followed.ends_s,
    )


def watch_spool(metrics: Metrics, ledger: Ledger, limit_bytes: int) -> None:
    """Adds what stands in the spool, and how much may."""
    metrics.gauge(
        "spool_bytes",
        "Bytes of answers on disk that the broker does not have.",
        lambda: ledger.waiting.size_bytes,
    )
    metrics.gauge(
        "spool_records",
        "Answers on disk that the broker does not have.",
        lambda: ledger.waiting.records,
    )
    metrics.gauge("spool_limit_bytes", "Bytes that may wait at most.", lambda: limit_bytes)
    metrics.gauge("spool_age_seconds", "Age of the oldest of them.", ledger.age_s)
