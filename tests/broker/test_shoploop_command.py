"""`shoploop up`, `status`, `query` and `down` as an operator runs them: real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local import jars
from local.state import HomeState, read_state

DEADLINE_S = 200.0
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("SHOPLOOP_")}


def shoploop(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "console.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
        env={**ENVIRON, **environ},
    )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the deadline passed"
        time.sleep(0.1)


def state_of(home: Path) -> HomeState:
    state = read_state(home)
    assert state is not None
    return state


def all_ready(home: Path) -> bool:
    state = read_state(home)
    states = [each.state for each in state.processes] if state else []
    return states == ["ready", "ready"]


@contextmanager
def started(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`up` with ClickHouse alone, killed at the end when it still runs."""
    command = [sys.executable, "-m", "console.main", "up", "--home", str(home)]
    up = subprocess.Popen(
        [*command, "--free-ports", "--only", "clickhouse"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRON,
    )
    try:
        until(lambda: (s := read_state(home)) is not None and s.processes[0].state == "ready")
        yield up
    finally:
        up.kill()
        up.wait()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    command = [sys.executable, "-m", "console.main", "up", "--home", str(folder)]
    with (folder / "up.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--free-ports", "--only", "kafka,clickhouse"],
            stdout=log,
            stderr=log,
            env=ENVIRON,
        )
    try:
        until(lambda: all_ready(folder) or process.poll() is not None)
        yield folder
    finally:
        process.terminate()
        assert process.wait(DEADLINE_S) == 0
    said = (folder / "up.log").read_text()
    assert said.index("clickhouse  stopped") < said.rindex("kafka       stopped")


def test_status_shows_processes_and_groups(home: Path) -> None:
    done = shoploop("status", "--home", str(home))
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("kafka", "clickhouse", "ready", "shoploop.streams.visitors", "no metric yet"):
        assert part in done.stdout


def test_a_query_is_answered(home: Path) -> None:
    address = state_of(home).clickhouse
    done = shoploop("query", "SELECT 1 AS n", "--format", "json", SHOPLOOP_CLICKHOUSE=address)
    assert json.loads(done.stdout) == [{"n": 1}]


def test_a_wrong_query_is_one_line_and_status_2(home: Path) -> None:
    done = shoploop("query", "SELECT nope", SHOPLOOP_CLICKHOUSE=state_of(home).clickhouse)
    assert done.returncode == 2
    assert "UNKNOWN_IDENTIFIER" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_second_up_is_told_who_holds_the_directory(home: Path) -> None:
    done = shoploop("up", "--home", str(home))
    assert done.returncode == 2
    assert f"process {state_of(home).supervisor_pid} since" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_killed_broker_comes_back(home: Path) -> None:
    before = state_of(home).processes[0]
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: state_of(home).processes[0].restarts > before.restarts and all_ready(home))
    said = (home / "up.log").read_text()
    assert "killed by signal 9; starts again in" in said


def test_down_stops_what_up_runs_and_says_so(tmp_path: Path) -> None:
    with started(tmp_path) as up:
        done = shoploop("down", "--home", str(tmp_path))
        assert (done.returncode, "stopped process" in done.stdout) == (0, True)
        assert up.wait(DEADLINE_S) == 0
    assert "nothing runs" in shoploop("down", "--home", str(tmp_path)).stdout


def test_what_a_killed_up_leaves_behind_is_stopped_by_down(tmp_path: Path) -> None:
    with started(tmp_path):
        pass
    done = shoploop("down", "--home", str(tmp_path))
    assert done.stdout == "stopped clickhouse, left behind\n"


def test_a_corrupted_jar_is_one_line_and_status_2(tmp_path: Path) -> None:
    jar = jars.read_lock()[0]
    cache = tmp_path / "cache"
    (cache / "shoploop" / "jars").mkdir(parents=True)
    (cache / "shoploop" / "jars" / jar.filename).write_bytes(b"not this")
    done = shoploop(
        "up", "--home", str(tmp_path / "home"), "--free-ports", XDG_CACHE_HOME=str(cache)
    )
    assert done.returncode == 2
    assert jar.filename in done.stderr
    assert jar.sha256 in done.stderr
    assert done.stderr.count("\n") == 1
