"""What runs in a home directory, as a file others read: `status`, `down`, and the next `up`.

A process counts as the recorded one only when its start time matches too: ids are used again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psutil

from core.settings import PROOFS, Settings
from schemas.errors import BadSettings

_STOP_WITHIN_S = 15.0
_LOOK_EVERY_S = 0.1


class ProcessState(msgspec.Struct, frozen=True, kw_only=True):
    """One supervised process as last seen by its supervisor."""

    name: str
    pid: int
    state: str
    restarts: int
    started_at_s: float
    created_at_s: float
    port: int
    log: str


class HomeState(msgspec.Struct, frozen=True, kw_only=True):
    """The supervisor, its addresses and its processes in their order of start."""

    supervisor_pid: int
    supervisor_created_at_s: float
    started_at_s: float
    kafka: str
    clickhouse: str
    artefacts: str
    topic_prefix: str
    processes: tuple[ProcessState, ...] = ()

    def reached_by(self, settings: Settings) -> Settings:
        """The settings with the addresses of this home; what runs there asks for no proofs."""
        standard = Settings()
        plain = {name: getattr(standard, name) for name in PROOFS}
        addresses = {
            "kafka": self.kafka,
            "clickhouse": self.clickhouse,
            "topic_prefix": self.topic_prefix,
        }
        return msgspec.structs.replace(settings, **plain, **addresses)


def state_file(home: Path) -> Path:
    """Where the state of a home directory is kept."""
    return home / "state.json"


def write_state(home: Path, state: HomeState) -> None:
    """Replace the state file in one step."""
    path = state_file(home)
    partial = path.with_suffix(".part")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(state)))
    partial.replace(path)


def read_state(home: Path) -> HomeState | None:
    """The state of a home directory, none when nothing was ever started there.

    Raises:
        BadSettings: the file is not one of ours.
    """
    path = state_file(home)
    try:
        return msgspec.json.decode(path.read_bytes(), type=HomeState)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadSettings(f"{path} cannot be read ({error}): delete it") from error


def created_at_s(pid: int) -> float:
    """When a process began, 0 when there is none of this id."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def is_running(pid: int, created: float) -> bool:
    """Whether this very process still runs."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - created) < 1.0
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def stop_left_behind(state: HomeState) -> Sequence[str]:
    """End processes whose supervisor is gone, last started first; the names of those it ended."""
    ended = []
    for each in reversed(state.processes):
        if not is_running(each.pid, each.created_at_s) or each.pid == os.getpid():
            continue
        psutil.Process(each.pid).terminate()
        if not _gone(each):
            psutil.Process(each.pid).kill()
            _gone(each)
        ended.append(each.name)
    return ended


def _gone(process: ProcessState) -> bool:
    """Wait for a process to end; whether it did in time."""
    deadline = time.monotonic() + _STOP_WITHIN_S
    while is_running(process.pid, process.created_at_s):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_EVERY_S)
    return True
