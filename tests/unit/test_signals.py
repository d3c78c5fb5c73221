"""How processes end on SIGTERM and SIGINT: with status 0, whenever the signal comes."""

import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from serving.guard import Guard

STOPPING = [signal.SIGTERM, signal.SIGINT]


def _ends(script: str, number: int, said: tuple[str, ...]) -> int:
    """The status of a script that gets the signal after each line it says."""
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in said:
            assert process.stdout.readline().strip() == line
            process.send_signal(number)
        return process.wait(60)


@pytest.mark.parametrize("number", STOPPING)
def test_a_process_that_holds_nothing_leaves_at_once(number: int) -> None:
    script = """
        from adapters.signals import leave_at_once
        leave_at_once()
        print("here", flush=True)
        class Swallows:
            def __del__(self):
                import time
                time.sleep(60)
        Swallows()
        """
    assert _ends(script, number, ("here",)) == 0


@pytest.mark.parametrize("number", STOPPING)
def test_a_second_signal_does_not_kill_a_process_that_is_ending(number: int) -> None:
    script = """
        import sys
        from os import write
        from time import sleep
        from adapters.signals import leave_in_peace, stop_with
        from serving.guard import Guard
        class Last:
            def __del__(self, write=write, sleep=sleep):
                write(1, b"ending\\n")
                sleep(0.3)
        guard = Guard()
        stop_with(guard.stop)
        print("here", flush=True)
        guard.wait()
        leave_in_peace()
        sys.last = Last()
        """
    assert _ends(script, number, ("here", "ending")) == 0


@pytest.mark.parametrize("arguments", [["serving"], ["serving", "shadow"], ["trainer"]])
def test_product_processes_end_well_while_they_start(arguments: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", "-m", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.split("|")[-1].strip() == "msgspec":  # the first import after the handlers
                break
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_guard_asks_all_threads_to_end_when_one_fails() -> None:
    guard, ended = Guard(), threading.Event()

    def fail() -> None:
        raise ValueError("broken")

    def work() -> None:
        guard.stopping.wait()
        ended.set()

    guard.start("work", work)
    guard.start("fail", fail)
    guard.wait()
    assert ended.wait(60)
    with pytest.raises(ValueError, match="broken"):
        guard.check()


def test_guard_takes_a_stop_that_came_before_anyone_waits() -> None:
    guard = Guard()
    guard.stop()
    guard.wait()
    assert guard.stopping.is_set()
