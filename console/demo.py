"""`shoploop demo`: real orders through the whole loop, then what to try next."""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

from rich.console import Console

from adapters.home import home_of
from core.settings import parse
from local.demo import TRAIN_UNTIL, DemoOptions, event_time, export, run_demo
from local.live_view import make_console
from local.processes import Ports
from local.report_view import show_report, write_report

HELP = "Replay a real shop's orders through the whole loop on this machine."
TO = "2011-09-19"
"""As much of the year as two cores replay in two and a half minutes."""
_ASK = (
    "SELECT policy, count() AS answers, avg(latency_ms) FROM predictions "
    "GROUP BY policy ORDER BY answers DESC"
)
_BODY = '{"request_id": "try-1", "visitor_id": "17850", "surface": "home"}'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `demo`."""
    parser.add_argument(
        "--from",
        dest="begin",
        default=TRAIN_UNTIL,
        metavar="DATE",
        help="first day with recommendations (%(default)s; earlier data trains the first version)",
    )
    parser.add_argument(
        "--to",
        default=TO,
        metavar="DATE",
        help="day to stop before (%(default)s; 2012-01-01 replays the whole year)",
    )
    parser.add_argument(
        "--pace", type=float, default=0.0, metavar="X", help="event-time seconds a second, 0: all"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report as JSON")
    parser.add_argument("--home", type=Path, help="the demo keeps its data in HOME/demo")
    parser.add_argument("--free-ports", action="store_true", help="take any free ports")
    parser.add_argument(
        "--export", type=Path, metavar="FOLDER", help="only write the data as events and items"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 when it came to its end."""
    console = make_console()
    if arguments.export:
        console.print(export(arguments.export), highlight=False, soft_wrap=True)
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    home = (arguments.home or home_of(parse(os.environ))).expanduser()
    options = DemoOptions(
        home=home,
        from_ms=event_time(arguments.begin),
        to_ms=event_time(arguments.to),
        pace=arguments.pace,
        ports=Ports.free() if arguments.free_ports else None,
    )
    report = run_demo(options, console)
    show_report(report, console)
    if arguments.report:
        write_report(report, arguments.report)
    show_next(console, home / "demo")
    return 0


def show_next(console: Console, folder: Path) -> None:
    """Prints how to start the demo's shop again, and three things to try."""
    lines = (
        "",
        "Everything is kept. Start it again in another terminal, and try:",
        f"  shoploop up --home {folder}",
        "",
        f'  shoploop query "{_ASK}"',
        f"  curl -s localhost:18080/v1/recommend -H 'content-type: application/json' -d '{_BODY}'",
        "  shoploop models history",
    )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
