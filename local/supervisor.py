"""Keeps processes running: starts them in order, restarts what dies, stops them in reverse.

Knows nothing of what the processes do: stages of specs are data. What happens is told to one
callback as events; how it looks is the caller's business.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from local.child import Child, Spec, last_line
from local.state import ProcessState, created_at_s
from schemas.errors import BadSettings, FeedbackError

WATCH_EVERY_S = 0.1
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0
_WELL_AFTER_S = 60.0


@dataclass(frozen=True)
class Stage:
    """Processes that start together, after every earlier stage is ready.

    `build` makes the specs when the stage's turn has come; `then` runs once they are ready.
    """

    build: Callable[[], Sequence[Spec]]
    then: Callable[[], None] | None = None


@dataclass(frozen=True)
class Happened:
    """One thing worth a line: `what` is ready, ended, restarted or stopped."""

    name: str
    what: str
    detail: str


@dataclass
class _Watched:
    child: Child
    restarts: int = 0
    ready: bool = False
    failures: int = 0
    start_again_at_s: float | None = None
    created_at_s: float = 0.0
    stage: int = field(default=0)


class Supervisor:
    """Runs stages of processes until it is stopped.

    Args:
        stages: what to run, in order.
        log_dir: each process writes to `<log_dir>/<name>.log`.
        report: called with each thing that happens, from whatever thread saw it.
        changed: called after anything that `states` shows has changed.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        log_dir: Path,
        report: Callable[[Happened], None],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._stages = stages
        self._log_dir = log_dir
        self._report = report
        self._changed = changed
        self._watched: list[_Watched] = []
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None

    def start(self) -> None:
        """Start every stage, wait until each is ready, then watch in a thread.

        Raises:
            FeedbackError: a process could not start or was not ready in time; those that had been
                started are stopped.
        """
        try:
            for number, stage in enumerate(self._stages):
                self._start_stage(number, stage)
        except BaseException:
            self.stop()
            raise
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._watcher.start()

    def _start_stage(self, number: int, stage: Stage) -> None:
        begun = []
        for spec in stage.build():
            watched = _Watched(Child(spec, self._log_dir / f"{spec.name}.log"), stage=number)
            watched.child.start()
            watched.created_at_s = created_at_s(watched.child.pid or 0)
            self._watched.append(watched)
            begun.append(watched)
            self._changed()
        for watched in begun:
            took_s = watched.child.wait_ready()
            self._say_ready(watched, took_s)
        if stage.then is not None:
            stage.then()

    def stop(self) -> None:
        """Stop every process, the last stage first; SIGKILL for those that do not end."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join()
        for number in reversed(range(len(self._stages))):
            stage = [each for each in reversed(self._watched) if each.stage == number]
            for watched in stage:
                watched.child.terminate()
            for watched in stage:
                watched.child.stop()
                self._say(watched, "stopped", _ending(watched.child))
        self._changed()

    def states(self) -> tuple[ProcessState, ...]:
        """Every process as it is now, in order of start."""
        return tuple(_state(each, stopping=self._stopping.is_set()) for each in self._watched)

    def _watch(self) -> None:
        while not self._stopping.wait(WATCH_EVERY_S):
            for watched in self._watched:
                self._look_at(watched)

    def _look_at(self, watched: _Watched) -> None:
        if watched.start_again_at_s is not None:
            if time.monotonic() >= watched.start_again_at_s:
                self._start_again(watched)
        elif not watched.child.alive:
            self._ended(watched)
        elif not watched.ready and watched.child.spec.ready():
            self._say_ready(watched, time.time() - watched.child.started_at_s)

    def _ended(self, watched: _Watched) -> None:
        child = watched.child
        if time.time() - child.started_at_s > _WELL_AFTER_S:
            watched.failures = 0
        pause_s = backoff_s(watched.failures)
        watched.failures += 1
        watched.ready = False
        watched.start_again_at_s = time.monotonic() + pause_s
        self._say(watched, "ended", f"{_ending(child)}; starts again in {pause_s:g} s")

    def _start_again(self, watched: _Watched) -> None:
        watched.start_again_at_s = None
        watched.restarts += 1
        try:
            watched.child.start()
        except FeedbackError as error:
            pause_s = backoff_s(watched.failures)
            watched.failures += 1
            watched.start_again_at_s = time.monotonic() + pause_s
            self._say(watched, "ended", f"could not start again: {error}")
            return
        watched.created_at_s = created_at_s(watched.child.pid or 0)
        self._say(watched, "restarted", f"process {watched.child.pid}, restart {watched.restarts}")

    def _say_ready(self, watched: _Watched, took_s: float) -> None:
        watched.ready = True
        where = "".join(f" on {port}" for port in watched.child.spec.ports[:1])
        self._say(watched, "ready", f"in {took_s:.1f} s{where}, process {watched.child.pid}")

    def _say(self, watched: _Watched, what: str, detail: str) -> None:
        self._report(Happened(watched.child.spec.name, what, detail))
        self._changed()


def backoff_s(failures: int) -> float:
    """The pause before a restart: doubled with each failure in a row, up to a bound.

    >>> [backoff_s(n) for n in (0, 1, 2, 9)]
    [0.5, 1.0, 2.0, 30.0]
    """
    return float(min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2**failures))


def _ending(child: Child) -> str:
    """How a process ended; its last words when it ended by itself and badly."""
    status = child.exit_status
    if status is None or status <= 0:
        return f"killed by signal {-status}" if status else "cleanly"
    # A JVM that ends on SIGTERM says so by this status.
    if status == 128 + signal.SIGTERM:
        return "cleanly"
    return f"status {status}: {last_line(child.log_file)}"


def _state(watched: _Watched, *, stopping: bool) -> ProcessState:
    child = watched.child
    if not child.alive:
        state = "stopped" if stopping else "restarting"
    else:
        state = "ready" if watched.ready else "starting"
    return ProcessState(
        name=child.spec.name,
        pid=child.pid or 0,
        state=state,
        restarts=watched.restarts,
        started_at_s=child.started_at_s,
        created_at_s=watched.created_at_s,
        port=next(iter(child.spec.ports), 0),
        log=str(child.log_file),
    )


def choose(names: Sequence[str], known: Sequence[str]) -> None:
    """Pass when every name is known.

    Raises:
        BadSettings: one is not; the text lists those that are.
    """
    for name in names:
        if name not in known:
            raise BadSettings(f"process {name!r} is not one of {', '.join(known)}")
