"""`shoploop drill`: drift put into a copy of live traffic, to see what notices it and when."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapters.kafka import Follower, consumer, end_offsets
from console.orders import add_place, settings_here
from console.status import span
from core.drift import KINDS
from core.drill import LEAST_RECORDS, DetectorReport, Drill, DrillReport, drill, usable
from core.drill_changes import CHANGES
from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder
from schemas.errors import BadSettings, Unavailable
from schemas.outcomes import SlotRecord

HELP = (
    "Put drift into a copy of the newest live traffic and report what the detectors make of it: "
    "how long until each notices, and whether any alarms on the same traffic untouched. "
    "The first part of the traffic serves as training data. The live loop is not touched: "
    "records are read without a group, and nothing is written."
)
_READ_WITHIN_S = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `drill`."""
    add_place(parser)
    kinds = "; ".join(f"{kind}: {text}" for kind, text in CHANGES.items())
    parser.add_argument("--kind", choices=["all", *CHANGES], default="all", help=kinds)
    parser.add_argument("--strength", type=float, default=0.3, help="the share (default 0.3)")
    parser.add_argument("--last", type=int, default=50_000, help="newest records to read")
    parser.add_argument("--learn", type=float, default=0.3, help="share used as training data")
    parser.add_argument("--change-at", type=float, default=0.6, help="share before the change")
    parser.add_argument("--seed", type=int, default=7, help="of what is changed")
    parser.add_argument("--json", action="store_true", help="one JSON object per kind, in a list")


def run(arguments: argparse.Namespace) -> int:
    """Read, drill, report."""
    _check(arguments)
    settings = settings_here(arguments)
    records = usable(newest(settings, arguments.last), settings)
    if len(records) < LEAST_RECORDS:
        raise Unavailable(
            f"the topic slots holds {len(records):,} final lists and baskets of {settings.task}, "
            f"a drill needs {LEAST_RECORDS:,}: wait for traffic, or raise --last"
        )
    kinds = list(CHANGES) if arguments.kind == "all" else [arguments.kind]
    reports = [drill(records, settings, _plan(kind, arguments)) for kind in kinds]
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(reports), indent=2))
    else:
        show(Console(highlight=False, soft_wrap=True), reports)
    return 0


def newest(settings: Settings, at_most: int) -> Iterator[SlotRecord]:
    """The newest records of `slots`, at most so many a partition.

    Raises:
        Unavailable: the broker does not answer, or the end was not reached in time.
    """
    client = consumer(settings, None)
    try:
        ends = end_offsets(settings, client, topics.SLOTS)
    finally:
        client.close()
    start = {(topics.SLOTS.name, place): max(0, end - at_most) for place, end in ends.items()}
    reader = Follower(settings, (topics.SLOTS,), start)
    decode = Decoder(topics.SLOTS.record)
    try:
        for _, message in reader.catch_up(_READ_WITHIN_S):
            value = message.value()
            if value is not None:
                yield decode(value)
    finally:
        reader.close()


def show(console: Console, reports: list[DrillReport]) -> None:
    """Prints the reports for a person."""
    first = reports[0]
    console.print(
        f"{first.lists:,} lists and {first.baskets:,} baskets over "
        f"{span((first.until_ms - first.from_ms) / 1000)}, changed in the last "
        f"{span((first.until_ms - first.changed_at_ms) / 1000)}"
    )
    console.print(
        f"untouched: {first.false_alarms} alarms, "
        f"{first.budgeted_false_alarms:.2g} within the false-alarm budget"
    )
    for report in reports:
        console.print(f"\n[bold]{report.kind}[/]: {report.strength:.0%}, {CHANGES[report.kind]}")
        console.print(verdict(report))
        console.print(_table(report))
    waiting = [f"{each.surface}/{each.detector}" for each in first.detectors if not each.ready]
    if waiting:
        console.print(f"\ntoo little traffic for a baseline: {', '.join(waiting)}")


def verdict(report: DrillReport) -> str:
    """What came of it, in a line."""
    if not report.detected:
        ready = any(each.ready for each in report.detectors if each.kind == report.kind)
        why = "" if ready else ": too little traffic for a baseline"
        return f"not noticed{why}"
    told = "" if report.first_kind == report.kind else f", after an alarm of {report.first_kind}"
    return (
        f"noticed by {report.detector} after {report.delay:,} {_unit(report.detector)}, "
        f"{span((report.delay_ms or 0) / 1000)}{told}; asks to {report.action}"
    )


def _table(report: DrillReport) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    names = ("detector", "kind", "seen", "untouched", "delay", "in time", "effect", "could see")
    for name in names:
        table.add_column(name, justify="left" if name in names[:2] else "right")
    for each in (each for each in report.detectors if each.ready):
        table.add_row(*(Text(cell) for cell in _cells(each)))
    return table


def _cells(each: DetectorReport) -> tuple[str, ...]:
    return (
        f"{each.surface}/{each.detector}",
        each.kind,
        f"{each.observations:,}",
        str(each.false_alarms),
        "-" if each.delay is None else f"{each.delay:,}",
        "-" if each.delay_ms is None else span(each.delay_ms / 1000),
        "-" if each.effect is None else f"{each.effect:+.3f}",
        "-" if each.minimum_detectable is None else f"{each.minimum_detectable:.3f}",
    )


def _unit(place: str) -> str:
    """What a detector counts.

    >>> _unit("home/click_cusum"), _unit("home/popularity_js"), _unit("home/error_scan")
    ('slots', 'baskets', 'lists')
    """
    detector = place.partition("/")[2]
    if detector == "click_cusum":
        return "slots"
    return "baskets" if KINDS[detector] == "input" else "lists"


def _plan(kind: str, arguments: argparse.Namespace) -> Drill:
    return msgspec.convert(
        {
            "kind": kind,
            "strength": arguments.strength,
            "learn_share": arguments.learn,
            "watch_share": arguments.change_at,
            "seed": arguments.seed,
        },
        Drill,
    )


def _check(arguments: argparse.Namespace) -> None:
    if not 0 < arguments.strength <= 1:
        raise BadSettings(f"--strength {arguments.strength:g}: a share above 0, at most 1")
    if not 0 < arguments.learn < arguments.change_at < 1:
        raise BadSettings(
            f"--learn {arguments.learn:g} --change-at {arguments.change_at:g}: "
            "two shares between 0 and 1, the second the greater"
        )
    if arguments.last < 1:
        raise BadSettings(f"--last {arguments.last}: at least 1")
