"""`shoploop up`: everything on this machine, in the foreground, one line a process."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from adapters.home import home_of
from core.settings import parse
from local.processes import NAMES, Ports
from local.runtime import embedded
from local.supervisor import Happened

HELP = "Run Kafka, ClickHouse and every process of the loop until Ctrl-C."
_MARKS = {"ready": "[green]●[/]", "ended": "[red]●[/]", "restarted": "[yellow]●[/]"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `up`."""
    parser.add_argument("--home", type=Path, help="where all state lives (SHOPLOOP_HOME)")
    parser.add_argument("--refetch", action="store_true", help="fetch wrong jars of Kafka anew")
    parser.add_argument("--free-ports", action="store_true", help="take any free ports")
    parser.add_argument("--verbose", action="store_true", help="show where each log is")
    parser.add_argument(
        "--only", metavar="NAMES", help=f"run these alone, by comma: {', '.join(NAMES)}"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM; 0 after a clean stop."""
    console = Console(highlight=False, soft_wrap=True)
    home = arguments.home or home_of(parse(os.environ))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with embedded(
            home,
            ports=Ports.free() if arguments.free_ports else None,
            processes=arguments.only.split(",") if arguments.only else None,
            report=lambda event: console.print(line(event)),
            refetch=arguments.refetch,
        ) as runtime:
            console.print(f"shoploop runs in {runtime.home}: Ctrl-C or `shoploop down` stops it")
            if arguments.verbose:
                for state in runtime.supervisor.states():
                    console.print(f"  {state.name:11} {state.log}", style="dim")
            wait_for_signal()
    except KeyboardInterrupt:
        console.print("stopped while starting")
    return 0


def wait_for_signal() -> None:
    """Return on SIGINT or SIGTERM; further ones do not disturb the stop."""
    never = threading.Event()
    try:
        # Again and again: one that was handed to another thread wakes nobody, but is heard then.
        while not never.wait(0.5):
            pass
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def line(event: Happened) -> str:
    """One line of an event."""
    return f"{_MARKS.get(event.what, '○')} {event.name:11} {event.what:9} {escape(event.detail)}"
