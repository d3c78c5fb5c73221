"""`shoploop down`: stops what `shoploop up` runs in a home directory, from another terminal."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import psutil

from adapters.home import home_of
from core.settings import parse
from local.state import HomeState, is_running, read_state, stop_left_behind
from schemas.errors import Unavailable

HELP = "Stop what `shoploop up` runs."
_WITHIN_S = 120.0
_LOOK_EVERY_S = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `down`."""
    parser.add_argument("--home", type=Path, help="where all state lives (SHOPLOOP_HOME)")


def run(arguments: argparse.Namespace) -> int:
    """Stop the supervisor, or what a dead one left behind; 0 when nothing runs afterwards."""
    home = arguments.home or home_of(parse(os.environ))
    state = read_state(home)
    if state is None:
        print(f"nothing runs in {home}")
        return 0
    if is_running(state.supervisor_pid, state.supervisor_created_at_s):
        psutil.Process(state.supervisor_pid).terminate()
        _wait_gone(state)
        print(f"stopped process {state.supervisor_pid} and its {len(state.processes)} processes")
        return 0
    ended = stop_left_behind(state)
    print(f"stopped {', '.join(ended)}, left behind" if ended else f"nothing runs in {home}")
    return 0


def _wait_gone(state: HomeState) -> None:
    deadline = time.monotonic() + _WITHIN_S
    # Not psutil's wait: that waits on for an ended process whose parent has not yet asked for it.
    while is_running(state.supervisor_pid, state.supervisor_created_at_s):
        if time.monotonic() > deadline:
            raise Unavailable(f"process {state.supervisor_pid} did not stop within {_WITHIN_S:g} s")
        time.sleep(_LOOK_EVERY_S)
