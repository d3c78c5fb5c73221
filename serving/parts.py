"""What a serving replica and the shadow are both made of. It decides nothing."""

import logging
import time
from collections.abc import Sequence

from adapters.home import home_of
from adapters.kafka import ensure_topics, topic_name
from core.settings import Settings
from schemas import topics
from schemas.codec import encode
from schemas.models import ModelLog
from serving.checkpoint import Checkpoints
from serving.guard import Guard
from serving.library import Library
from serving.metrics import Metrics
from serving.outbox import Outbox, Outgoing
from serving.progress import Reporter
from serving.rules_file import RulesFile
from serving.standing import Standing
from serving.state import Live
from serving.state_store import state_of
from serving.traces import traces_of
from serving.versions import Versions

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
