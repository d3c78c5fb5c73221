"""The supervisor with real, tiny child processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from local.child import Spec, free_ports
from local.lock import HomeLock
from local.processes import Ports, make_plan
from local.runtime import embedded
from local.state import HomeState, read_state, stop_left_behind, write_state
from local.supervisor import Happened, Stage, Supervisor, backoff_s
from schemas.errors import BadSettings, Unavailable

DEADLINE_S = 120.0
# Says that it is up, and on SIGTERM when it ended, in a file all children share.
CHILD = """
import signal, sys, time
name, journal, mark = sys.argv[1:4]
def end(*_):
    with open(journal, "a") as file: file.write(name + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
open(mark, "w").close()
while True: time.sleep(0.05)
"""


class Bench:
    """Builds specs in a folder and collects what the supervisor reports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "journal"
        self.events: list[Happened] = []

    def spec(self, name: str, code: str = CHILD, **changes: object) -> Spec:
        mark = self.folder / f"{name}.up"
        values: dict[str, object] = {
            "name": name,
            "command": [sys.executable, "-c", code, name, str(self.journal), str(mark)],
            "ready": mark.exists,
            "ready_within_s": DEADLINE_S,
        }
        return Spec(**{**values, **changes})  # type: ignore[arg-type]

    def supervisor(self, *stages: list[Spec]) -> Supervisor:
        made = [Stage(lambda specs=specs: specs) for specs in stages]  # type: ignore[misc]
        return Supervisor(made, self.folder / "logs", self.events.append)

    def said(self, name: str) -> list[str]:
        return [event.what for event in self.events if event.name == name]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the deadline passed"
        time.sleep(0.02)


def test_a_killed_child_is_restarted_and_counted(bench: Bench) -> None:
    supervisor = bench.supervisor([bench.spec("one")])
    supervisor.start()
    try:
        (before,) = supervisor.states()
        (bench.folder / "one.up").unlink()
        os.kill(before.pid, signal.SIGKILL)
        until(lambda: bench.said("one").count("ready") == 2)
        (after,) = supervisor.states()
    finally:
        supervisor.stop()
    assert bench.said("one") == ["ready", "ended", "restarted", "ready", "stopped"]
    assert (after.restarts, after.state, after.pid != before.pid) == (1, "ready", True)
    assert "killed by signal 9" in next(e.detail for e in bench.events if e.what == "ended")


def test_processes_stop_in_reverse_order_of_start(bench: Bench) -> None:
    supervisor = bench.supervisor(
        [bench.spec("first")], [bench.spec("second")], [bench.spec("third")]
    )
    supervisor.start()
    supervisor.stop()
    assert bench.journal.read_text().split() == ["third", "second", "first"]
    assert all(state.state == "stopped" for state in supervisor.states())


def test_a_stage_starts_only_when_the_one_before_is_ready(bench: Bench) -> None:
    seen: list[bool] = []

    def second() -> list[Spec]:
        seen.append((bench.folder / "first.up").exists())
        return [bench.spec("second")]

    stages = [Stage(lambda: [bench.spec("first")]), Stage(second)]
    supervisor = Supervisor(stages, bench.folder / "logs", bench.events.append)
    supervisor.start()
    supervisor.stop()
    assert seen == [True]


def test_a_child_that_dies_at_start_says_why_and_the_rest_is_stopped(bench: Bench) -> None:
    code = "import sys; print('no such thing as a setting X'); sys.exit(2)"
    supervisor = bench.supervisor([bench.spec("good")], [bench.spec("bad", code)])
    with pytest.raises(Unavailable, match=r"bad ended with status 2 .*no such thing as a setting"):
        supervisor.start()
    assert bench.said("good") == ["ready", "stopped"]
    assert bench.journal.read_text().split() == ["good"]


def test_a_child_that_ignores_sigterm_is_killed_after_its_deadline(bench: Bench) -> None:
    stubborn = CHILD.replace("signal.SIGTERM, end", "signal.SIGTERM, signal.SIG_IGN")
    supervisor = bench.supervisor([bench.spec("stubborn", stubborn, stop_within_s=0.3)])
    supervisor.start()
    supervisor.stop()
    assert bench.events[-1] == Happened("stubborn", "stopped", "killed by signal 9")


def test_a_taken_port_names_the_port_and_the_process(bench: Bench) -> None:
    (port,) = free_ports(1)
    listening = (
        "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[4])));"
        "open(sys.argv[3], 'w').close(); time.sleep(60)"
    )
    first = bench.spec("first", listening)
    holder = Spec(
        name="first", command=[*first.command, str(port)], ready=first.ready, ports=[port]
    )
    supervisor = bench.supervisor([holder], [bench.spec("second", ports=[port])])
    with pytest.raises(BadSettings, match=rf"port {port} for second is taken by process \d+"):
        supervisor.start()


def test_restarts_wait_longer_each_time_up_to_a_bound() -> None:
    pauses = [backoff_s(failures) for failures in range(12)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.5, 30.0)


def test_a_second_holder_of_a_directory_is_told_who_and_since_when(tmp_path: Path) -> None:
    with (
        HomeLock(tmp_path, "another `shoploop up`"),
        pytest.raises(BadSettings, match=rf"process {os.getpid()} since \d{{4}}-\d\d-\d\d"),
        embedded(tmp_path, processes=(), environ={}),
    ):
        pass


def test_a_stale_lock_file_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("process 1 since the beginning\n")
    with HomeLock(tmp_path, "another `shoploop up`"):
        assert f"process {os.getpid()} since" in (tmp_path / "lock").read_text()


def test_an_empty_runtime_leads_to_its_addresses(tmp_path: Path) -> None:
    with embedded(tmp_path, processes=(), environ={"SHOPLOOP_TASK": "search"}) as runtime:
        assert runtime.settings.task == "search"
        assert runtime.environ["SHOPLOOP_HOME"] == str(tmp_path)
        assert runtime.kafka_address == f"127.0.0.1:{runtime.ports.kafka}"


def test_an_unknown_process_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(BadSettings, match="process 'zookeeper' is not one of kafka, clickhouse"),
        embedded(tmp_path, processes=("zookeeper",), environ={}),
    ):
        pass


def test_what_a_dead_supervisor_left_behind_is_stopped(bench: Bench) -> None:
    supervisor = bench.supervisor([bench.spec("orphan")])
    supervisor.start()
    state = HomeState(
        supervisor_pid=0,
        supervisor_created_at_s=0,
        started_at_s=0,
        kafka="",
        clickhouse="",
        artefacts="",
        topic_prefix="",
        processes=supervisor.states(),
    )
    write_state(bench.folder, state)
    # The watcher must not bring it back: stop it first, as a dead supervisor's is.
    supervisor._stopping.set()
    read = read_state(bench.folder)
    assert read == state
    assert stop_left_behind(state) == ["orphan"]
    assert stop_left_behind(state) == []
    supervisor.stop()


def test_the_notifier_runs_only_where_somebody_is_to_be_notified(tmp_path: Path) -> None:
    silent = make_plan(tmp_path, Ports(), {})
    told = make_plan(tmp_path, Ports(), {"SHOPLOOP_ALERT_WEBHOOK": "https://chat.example/hook"})
    assert "notify" not in silent.names
    assert set(told.names) - set(silent.names) == {"notify"}
    assert make_plan(tmp_path, Ports(), {}, ["notify"]).names == ("notify",)
