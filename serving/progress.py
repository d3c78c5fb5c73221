"""Says on `progress` how far this process is: at once when that changes, else as a heartbeat."""

import threading
import time

import msgspec

from adapters.clock import wall_ms
from adapters.kafka import topic_name
from core.canary import canary_of
from core.settings import Settings
from schemas import topics
from schemas.codec import encode
from schemas.watermarks import Progress
from serving.engine import Engine
from serving.outbox import Outbox, Outgoing
from serving.state import Live, watermark_of

HEARTBEAT_S = 1.5


class Reporter:
    """Writes the progress of one process."""

    def __init__(self, settings: Settings, process: str, live: Live, outbox: Outbox) -> None:
        self._task = settings.task
        self._topic = topic_name(settings, topics.PROGRESS)
        self._process = process
        self._live = live
        self._outbox = outbox
        self._last: Progress | None = None
        self._last_s = 0.0
        self._lock = threading.Lock()

    def report(self, *, ready: bool) -> None:
        """Writes a record if anything changed since the last one, or a heartbeat is due."""
        with self._lock:
            now = self._progress(ready)
            due = time.monotonic() - self._last_s >= HEARTBEAT_S
            if now == self._last and not due:
                return
            self._last, self._last_s = now, time.monotonic()
            record = msgspec.structs.replace(now, wall_ms=wall_ms())
            key = self._process.encode()
            self._outbox.send([Outgoing(self._topic, key, encode(record))])

    def _progress(self, ready: bool) -> Progress:
        watermark_ms, barrier, run_id = watermark_of(self._live)
        engine = self._live.versions.engine
        return Progress(
            process=self._process,
            watermark_ms=watermark_ms,
            barrier=barrier,
            run_id=run_id,
            live={self._task: engine.champion.version} if engine.champion else {},
            challenger=self._challenger(engine),
            weights={f"{self._task}/{name}": w.version for name, w in engine.live.items()},
            ready=ready,
            canary=self._canary(engine),
        )

    def _canary(self, engine: Engine) -> dict[str, str]:
        """The canary and its share, once this process is able to answer with it."""
        if engine.pointer is None or engine.pointer.task != self._task:
            return {}
        loaded = engine.canary.version if engine.canary is not None else None
        held = self._live.versions.holds("canary")
        return {} if held and loaded != engine.pointer.canary else canary_of(engine.pointer)

    def _challenger(self, engine: Engine) -> dict[str, str]:
        """The challenger in use, or, where none is held, the one the pointer names."""
        if engine.challenger is not None:
            return {self._task: engine.challenger.version}
        if engine.pointer is not None and engine.pointer.challenger is not None:
            held = self._live.versions.holds("challenger")
            return {} if held else {self._task: engine.pointer.challenger}
        return {}
