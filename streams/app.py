"""The Faust worker: two stages, each a pump, a channel and an agent. Wiring alone."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from typing import Any

import faust
from faust.app.base import BootStrategy

from adapters import kafka
from adapters.garbage import collect_seldom
from adapters.health import counters_text, start_health
from adapters.home import home_of
from adapters.pepper import load_pepper
from core.settings import Settings
from schemas import topics
from schemas.errors import Unavailable
from streams.pump import Batch, Pump
from streams.stage import Stage
from streams.tasks import TaskRoom
from streams.visitors import VisitorStage

logger = logging.getLogger(__name__)
_DATA_TOPICS = (topics.EVENTS_VALID, topics.PREDICTIONS, topics.OUTCOMES)


class _AgentsAlone(BootStrategy):
    """Starts agents and services; the pumps are the only ones that speak to Kafka."""

    enable_kafka = False
    enable_web = False

    def server(self) -> Any:
        return self._chain(self.agents())


class Worker:
    """Both stages in one process."""

    def __init__(self, settings: Settings, stages: tuple[str, ...]) -> None:
        self._settings = settings
        self._failure: BaseException | None = None
        self._app = _faust_app(settings)
        made = {"visitors": self._visitors, "tasks": self._tasks}
        self._stages: list[Stage] = []
        self.pumps: list[Pump] = []
        for name in stages:
            self._add(made[name]())

    def run(self) -> int:
        """Works until a signal (0) or a failure (1)."""
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        worker = faust.Worker(
            self._app, loop=loop, quiet=True, redirect_stdouts=False, override_logging=False
        )
        worker.spinner = None  # it writes to the log, where no line is its own
        health = None
        if self._settings.http_port:
            health = start_health(self._settings, self._ready, self.metrics)
        collect_seldom()
        try:
            worker.execute_from_commandline()
        except SystemExit as stop:
            return self._exit_code(stop)
        finally:
            if health is not None:
                health.stop()

    def _exit_code(self, stop: SystemExit) -> int:
        if self._failure is None:
            return int(stop.code or 0)
        if not isinstance(self._failure, Unavailable):
            logger.error("bug", exc_info=self._failure)
        return 1

    def _visitors(self) -> Stage:
        stage = VisitorStage(self._settings, load_pepper(self._settings))
        if not self._settings.otlp:
            return stage
        from streams.traced import traced

        return traced(stage, self._settings)

    def _tasks(self) -> Stage:
        return TaskRoom(self._settings, self._ends)

    def _add(self, stage: Stage) -> None:
        channel = self._app.channel()

        async def work(batches: AsyncIterator[Batch]) -> None:
            async for batch in batches:
                # Not on the loop: the other stage's events would wait for a large batch.
                await asyncio.to_thread(batch.work)

        self._app.agent(channel, name=stage.process)(work)
        pump = Pump(self._settings, stage, channel.put, self._stop_all)
        self._app.service(pump)
        self._stages.append(stage)
        self.pumps.append(pump)

    def _stop_all(self, error: BaseException) -> None:
        """Ends the worker: the supervisor starts it again, and the store knows where to go on."""
        self._failure = self._failure or error
        signal.raise_signal(signal.SIGTERM)

    def _ends(self) -> dict[str, int]:
        """Next offsets of the topics that training data comes from."""
        client = self.pumps[-1].transport
        found = {}
        for topic in _DATA_TOPICS:
            name = kafka.topic_name(self._settings, topic)
            for number, following in enumerate(client.end_offsets(name, topic.partitions)):
                found[f"{topic.name}/{number}"] = following
        return found

    def _ready(self) -> bool:
        return all(pump.is_ready for pump in self.pumps)

    def metrics(self) -> str:
        """What the stages have counted and how their pumps stand, as Prometheus text."""
        return "".join(
            counters_text(
                "shoploop_" + stage.process.replace(".", "_"),
                {**stage.counters(), **pump.figures()},
            )
            for stage, pump in zip(self._stages, self.pumps, strict=True)
        )


def _faust_app(settings: Settings) -> Any:
    """A Faust app that takes no setting from the environment and serves nothing."""
    app = faust.App(
        "shoploop-streams",
        broker=f"kafka://{settings.kafka}",
        env={},
        autodiscover=False,
        web_enabled=False,
        web_bind="127.0.0.1",
        topic_disable_leader=True,
        topic_allow_declare=False,
        datadir=str(home_of(settings) / "streams" / "faust"),
        logging_config=None,
    )
    app.boot_strategy = _AgentsAlone(app)
    app.flow_control.resume()  # no assignment of Faust's own will
    return app
