"""`shoploop replay`: any shop's history through a running loop, with the demo's report."""

from __future__ import annotations

import argparse
import os
import signal
import time
from pathlib import Path

from core.settings import Settings, parse
from local.demo import event_time, replaying
from local.live_view import make_console
from local.processes import Ports
from local.replay import Plan
from local.replay_report import iso, make_report
from local.replay_source import read_events, read_items, span, with_items
from local.report_view import show_report, write_report
from schemas.errors import BadSettings
from schemas.events import EVENT_NAMES

HELP = "Replay a history (JSON Lines or Parquet in our event schema) through `shoploop up`."
_MINUTE_MS = 60_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `replay`."""
    parser.add_argument("events", type=Path, help="events: .jsonl, .jsonl.gz or .parquet")
    parser.add_argument("--items", type=Path, metavar="FILE", help="the catalogue, likewise")
    parser.add_argument(
        "--ask-before",
        default="purchase",
        metavar="NAMES",
        help="events before which known visitors ask, by comma (%(default)s)",
    )
    parser.add_argument(
        "--train-until", metavar="T", help="what trains the first version (a quarter of the span)"
    )
    parser.add_argument("--from", dest="begin", metavar="T", help="first recommendations")
    parser.add_argument("--to", metavar="T", help="stop before")
    parser.add_argument(
        "--pace", type=float, default=0.0, metavar="X", help="event-time seconds a second, 0: all"
    )
    parser.add_argument(
        "--barrier-minutes", type=float, default=240, metavar="N", help="event time a barrier"
    )
    parser.add_argument(
        "--serving",
        default=",".join(f"http://127.0.0.1:{port}" for port in _serving_ports()),
        metavar="URLS",
        help="serving processes for the few requests over HTTP, by comma (%(default)s)",
    )
    parser.add_argument(
        "--serving-key-file",
        type=Path,
        metavar="FILE",
        help="file with an API key (scope recommend), mode 600, where serving wants one",
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report as JSON")


def _serving_ports() -> tuple[int, int]:
    return Ports().serving_1, Ports().serving_2


def run(arguments: argparse.Namespace) -> int:
    """Replay and print the report."""
    console = make_console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings: Settings = parse(os.environ)
    plan = plan_of(arguments)
    console.print(
        f"trains until {iso(plan.train_until_ms)}, replays {iso(plan.from_ms)} to "
        f"{iso(plan.to_ms)}",
        highlight=False,
    )
    items = read_items(arguments.items) if arguments.items else []
    began_s = time.monotonic()
    with replaying(settings, plan, console) as replay:
        replay.run(with_items(read_events(arguments.events), items))
        report = make_report(replay, time.monotonic() - began_s)
    show_report(report, console)
    if arguments.report:
        write_report(report, arguments.report)
    return 0


def plan_of(arguments: argparse.Namespace) -> Plan:
    """What the arguments ask for.

    Raises:
        BadSettings: a time, an event name or the order of times is wrong.
    """
    names = frozenset(arguments.ask_before.split(","))
    if unknown := sorted(names - set(EVENT_NAMES)):
        raise BadSettings(
            f"--ask-before: {unknown[0]!r} is no event; there are {', '.join(EVENT_NAMES)}"
        )
    if arguments.barrier_minutes <= 0:
        raise BadSettings("--barrier-minutes must be above 0")
    first_ms, last_ms = span(arguments.events)
    until_ms = _time(arguments.train_until, first_ms + (last_ms - first_ms) // 4)
    begin_ms, to_ms = _time(arguments.begin, until_ms), _time(arguments.to, last_ms + 1)
    if not first_ms < until_ms <= begin_ms < to_ms:
        raise BadSettings(
            f"the history begins {iso(first_ms)}: expected that < --train-until "
            f"({iso(until_ms)}) <= --from ({iso(begin_ms)}) < --to ({iso(to_ms)})"
        )
    return Plan(
        train_until_ms=until_ms,
        from_ms=begin_ms,
        to_ms=to_ms,
        ask_before=names,
        barrier_ms=int(arguments.barrier_minutes * _MINUTE_MS),
        pace=arguments.pace,
        serving_urls=tuple(url for url in arguments.serving.split(",") if url),
        serving_key_file=arguments.serving_key_file,
    )


def _time(text: str | None, default_ms: int) -> int:
    return event_time(text) if text else default_ms
