"""A demo of six weeks that has run to its end, its sink killed twice on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters.clickhouse import ClickHouse, connected
from local.processes import Ports
from local.runtime import Runtime, embedded
from local.state import read_state
from schemas.errors import BadSettings

TO = "2011-04-10"
KILLS = 2
DEMO_WITHIN_S = 420.0


@dataclass
class FinishedDemo:
    """What is left of a demo: its exit status, its report, its data with its stores running."""

    status: int
    report: dict[str, Any]
    kills: int
    output: str
    runtime: Runtime
    clickhouse: ClickHouse


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FinishedDemo]:
    """Runs the demo as people do, then starts its stores again over what it left."""
    home = tmp_path_factory.mktemp("demo")
    report = home / "report.json"
    command = [sys.executable, "-m", "console.main", "demo", "--home", str(home), "--to", TO]
    command += ["--report", str(report), "--free-ports"]
    log = home / "output.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            kills = kill_the_sink(home / "demo", process)
            status = process.wait(DEMO_WITHIN_S)
        finally:
            process.terminate()
            process.wait(60)
    said = log.read_text()
    assert report.exists(), said
    stores = ("kafka", "clickhouse")
    with (
        embedded(home / "demo", ports=Ports.free(), processes=stores) as runtime,
        connected(runtime.clickhouse_dsn) as client,
    ):
        made = json.loads(report.read_text())
        yield FinishedDemo(status, made, kills, said, runtime, client)


def kill_the_sink(folder: Path, process: subprocess.Popen[bytes]) -> int:
    """Sends SIGKILL to two sinks in turn, each once it has run for a while; returns how many."""
    killed: set[int] = set()
    deadline = time.monotonic() + DEMO_WITHIN_S
    while process.poll() is None and len(killed) < KILLS and time.monotonic() < deadline:
        pid = _sink_to_kill(folder)
        if pid is not None and pid not in killed:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        time.sleep(0.2)
    return len(killed)


def _sink_to_kill(folder: Path) -> int | None:
    """The sink's process once everything runs and it has had ten seconds of work."""
    try:
        state = read_state(folder)
    except BadSettings:
        return None
    for each in state.processes if state else ():
        if each.name == "sink" and each.state in ("ready", "running"):
            return each.pid if time.time() - each.started_at_s > 10 else None
    return None
