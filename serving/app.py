"""Builds and connects the parts of a serving replica and of the shadow. It decides nothing."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event, Thread

from msgspec.structs import replace

from adapters.clickhouse import dsn_of
from adapters.health import start_health
from adapters.home import home_of
from adapters.kafka import ensure_topics, topic_name
from adapters.pepper import load_pepper
from adapters.signals import stop_with
from core.admission import limits_of
from core.partition_share import share_of
from core.settings import Settings
from schemas import topics
from schemas.codec import encode
from schemas.models import ModelLog
from schemas.predictions import RecommendRequest, SimilarRequest
from serving.access import Access
from serving.answered import Answered
from serving.batching import Batcher
from serving.checkpoint import Checkpoints
from serving.desk import Desk
from serving.explained import Explainer
from serving.front import Ask, Front
from serving.guard import Guard
from serving.http_server import bound_socket, server_of
from serving.intake import EventIntake
from serving.ledger import Ledger
from serving.library import Library
from serving.metrics import Metrics
from serving.outbox import Outbox, Outgoing
from serving.progress import Reporter
from serving.repeats import SharedRepeats
from serving.requests import RequestLoop
from serving.rules_file import RulesFile
from serving.shadow import PROCESS, ShadowLoop
from serving.standing import Standing
from serving.state import Live
from serving.state_store import state_of
from serving.traces import traces_of
from serving.versions import REPLICA_ROLES, SHADOW_ROLES, Versions
from serving.web import app
from serving.web_watch import Watched
from serving.words import Words

SENT_WITHIN_S = 20.0  # the ledger gives up after less, and ends what it is doing then

log = logging.getLogger(__name__)


class Parts:
    """What both processes are made of."""

    def __init__(
        self, settings: Settings, process: str, roles: Sequence[str], guard: Guard, *, eager: bool
    ) -> None:
        self.metrics = Metrics()
        self.rules = RulesFile(settings, limits=eager, noted=self.metrics.rules_read)
        ensure_topics(settings)
        self.settings = settings
        self.process = process
        self.guard = guard
        self.traces = traces_of(settings, process, self.metrics.stage)
        self.outbox = Outbox(settings)
        library = Library(settings)
        self.versions = Versions(library, roles, process, self.announce, self.report, guard)
        store = state_of(home_of(settings), process)
        self.live = Live(settings, self.versions, Checkpoints(store, settings), eager=eager)
        library.prepare = self.live.prepare
        self.metrics.collect(Standing(library, self.live))
        self.reporter = Reporter(settings, process, self.live, self.outbox)

    def report(self) -> None:
        """Says on `progress` how far this process is."""
        self.reporter.report(ready=self.live.ready)

    def follow(self) -> None:
        """Restores the state and follows the topics until stopped."""
        started = time.monotonic()
        self.live.restore()
        log.info("state restored in %.1f s", time.monotonic() - started)
        self.live.follow(self.guard.stopping, self._after_poll)

    def _after_poll(self) -> None:
        self.report()
        self.rules.look()

    def metrics_text(self) -> str:
        """The figures of this process as Prometheus text."""
        return self.metrics.text()

    def close(self) -> None:
        """Stops loading and sends what is left."""
        self.versions.close()
        self.outbox.close()
        self.traces.close()

    def announce(self, entry: ModelLog) -> None:
        """Writes an entry of `model_log`."""
        topic = topic_name(self.settings, topics.MODEL_LOG)
        self.outbox.send([Outgoing(topic, entry.task.encode(), encode(entry))])


def run_replica(settings: Settings, guard: Guard) -> None:
    """Answers over Kafka and HTTP until the guard stops it."""
    share_of(settings.served_partitions)  # a mistake is told before anything begins
    access = Access.of(settings)
    sockets = [bound_socket(settings)] if settings.http_port else []
    pepper = load_pepper(settings)
    ledger = Ledger(settings, settings.name)  # first: it says so when the name is in use
    parts = Parts(settings, settings.name, REPLICA_ROLES, guard, eager=True)
    watch_spool(parts.metrics, ledger, settings.spool_mb * 2**20)
    desk = Desk(
        settings, parts.process, parts.live, ledger, pepper, traces=parts.traces, rules=parts.rules
    )
    parts.metrics.collect(desk.breakers)
    lists = Batcher("lists", desk.answer, limits_of(settings), desk.record, parts.metrics)
    loop = RequestLoop(settings, parts.process, desk, parts.metrics)
    intake = EventIntake(settings, parts.process, parts.outbox)
    explainer = Explainer(dsn_of(settings), lambda: parts.versions.engine)
    asks: dict[type, Ask] = {RecommendRequest: lists, SimilarRequest: lists}
    repeats = SharedRepeats(Answered(home_of(settings) / "serving" / "repeats"))
    parts.metrics.collect(repeats)
    front = Front(desk, parts.live, asks, intake, parts.metrics, access, explainer, repeats)
    words = Words(settings, parts.process, parts.announce, parts.metrics, desk, parts.rules)
    asks.update(words.batchers)

    def once_ready(run: Callable[[], None]) -> None:
        while not (parts.live.ready and words.versions.caught_up):
            if guard.stopping.wait(0.02):
                return
        run()

    stop_with(guard.stop)
    sender = guard.start("ledger", ledger.run)
    asked = [guard.start("state", parts.follow)]
    asked.append(guard.start("requests", partial(once_ready, partial(loop.run, guard.stopping))))
    batches = [guard.start(each.name, partial(each.run, Event())) for each in (lists,)]
    watched = Watched(app(front), parts.metrics, parts.traces)
    server = server_of(watched, access.tls.context() if access.tls else None)
    if sockets:
        serve = partial(server.run, sockets)
        # On a port that others answer on, too, who is not ready would only take callers from them.
        shared = settings.http_shared
        asked.append(guard.start("http", partial(once_ready, serve) if shared else serve))
    words.start(guard)
    guard.wait()
    front.leave()
    server.should_exit = True
    _join(asked)
    lists.close()
    _join(words.close())
    _join(batches)
    ledger.finish()
    _join([sender], SENT_WITHIN_S)
    ledger.close()
    repeats.close()
    access.close()
    parts.close()
    guard.check()


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


def _join(threads: Sequence[Thread], within_s: float = 10.0) -> None:
    for thread in threads:
        thread.join(timeout=within_s)


def run_shadow(settings: Settings, guard: Guard) -> None:
    """Writes derived answers until the guard stops it."""
    whole = replace(settings, served_partitions="")  # one process derives from all answers
    parts = Parts(whole, PROCESS, SHADOW_ROLES, guard, eager=False)
    loop = ShadowLoop(settings, parts.live, parts.outbox, parts.metrics, parts.rules)
    loop.recall()
    health = None
    if settings.http_port:
        health = start_health(settings, lambda: parts.live.ready, parts.metrics_text)
    stop_with(guard.stop)
    threads = [
        guard.start("state", parts.follow),
        guard.start("shadow", lambda: loop.run(guard.stopping)),
    ]
    guard.wait()
    _join(threads)
    if health is not None:
        health.stop()
    parts.close()
    guard.check()
