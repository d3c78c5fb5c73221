"""All of shoploop on one machine, as a context manager: what `up`, the demo and tests enter."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.settings import Settings
from local.lock import HomeLock
from local.processes import Plan, Ports, make_plan, stages
from local.state import (
    HomeState,
    ProcessState,
    created_at_s,
    read_state,
    stop_left_behind,
    write_state,
)
from local.supervisor import Happened, Supervisor


@dataclass(frozen=True)
class Runtime:
    """What runs: its home, its ports and the environment that leads a client to it."""

    home: Path
    ports: Ports
    environ: Mapping[str, str]
    settings: Settings
    supervisor: Supervisor

    @property
    def kafka_address(self) -> str:
        """What `bootstrap.servers` takes."""
        return self.settings.kafka

    @property
    def clickhouse_dsn(self) -> str:
        """The ClickHouse address with its database."""
        return self.settings.clickhouse

    def serving_url(self, number: int = 1) -> str:
        """Where serving replica 1 or 2 answers."""
        port = {1: self.ports.serving_1, 2: self.ports.serving_2}[number]
        return f"http://127.0.0.1:{port}"

    def process(self, name: str) -> ProcessState:
        """One process as it is now."""
        return next(each for each in self.supervisor.states() if each.name == name)


def say_nothing(_: Happened) -> None:
    """A report for those who do not want one."""


@contextmanager
def embedded(
    home: Path,
    *,
    ports: Ports | None = None,
    processes: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    report: Callable[[Happened], None] = say_nothing,
    refetch: bool = False,
) -> Iterator[Runtime]:
    """Run the named processes (all by default) in a home directory while the block runs.

    Args:
        home: where all state lives; made when missing.
        ports: the ports to use, the fixed ones by default.
        processes: names out of `local.processes.NAMES`.
        environ: settings for the processes, on top of which the addresses are set.
        report: told each thing that happens.
        refetch: fetch jars anew that are not the locked ones.

    Raises:
        BadSettings: somebody holds the directory, a port is taken, a jar is wrong.
        Unavailable: a process did not get ready.
    """
    home = home.expanduser().resolve()
    settings = environ if environ is not None else os.environ
    plan = make_plan(home, ports or Ports(), settings, processes, refetch=refetch)
    with HomeLock(home, "another `shoploop up`"):
        left = read_state(home)
        for name in stop_left_behind(left) if left else ():
            report(Happened(name, "stopped", "left behind by a supervisor that died"))
        supervisor = _supervisor(plan, report)
        supervisor.start()
        try:
            yield Runtime(home, plan.ports, plan.environ, plan.settings, supervisor)
        finally:
            supervisor.stop()


def _supervisor(plan: Plan, report: Callable[[Happened], None]) -> Supervisor:
    started_at_s = time.time()
    own_pid = os.getpid()
    own_created = created_at_s(own_pid)

    def save() -> None:
        state = HomeState(
            supervisor_pid=own_pid,
            supervisor_created_at_s=own_created,
            started_at_s=started_at_s,
            kafka=plan.settings.kafka,
            clickhouse=plan.settings.clickhouse,
            artefacts=plan.settings.artefacts,
            topic_prefix=plan.settings.topic_prefix,
            processes=supervisor.states(),
        )
        write_state(plan.home, state)

    supervisor = Supervisor(stages(plan), plan.home / "logs", report, save)
    return supervisor
