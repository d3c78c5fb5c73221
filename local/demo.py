"""The demo: a real shop's orders through the whole loop on this machine.

One caller of the replay: the history is Online Retail, the processes are started afresh in a
folder of their own and stopped at the end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from core.settings import Settings
from local import retail_source
from local.child import accepts
from local.live_view import LiveView, view_for
from local.lock import HomeLock
from local.processes import Ports
from local.replay import Plan, Replay
from local.replay_report import make_report
from local.replay_source import write_json_lines
from local.runtime import Runtime, embedded
from local.supervisor import Happened
from schemas.errors import BadSettings

TRAIN_UNTIL = "2011-03-01"
FOLDER = "demo"
_ENDLESS_MS = 4_102_444_800_000


class DemoOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What of the data is replayed and how; times are event time."""

    home: Path
    from_ms: int | None = None
    to_ms: int = _ENDLESS_MS
    pace: float = 0.0
    ports: Ports | None = None


def event_time(text: str) -> int:
    """An ISO date or time as epoch milliseconds, UTC unless it says otherwise.

    >>> event_time("2011-03-01")
    1298937600000

    Raises:
        BadSettings: it is no date.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadSettings(f"{text!r} is no date: expected 2011-03-01 or a full ISO time") from error
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


_CLOSED = ("SHOPLOOP_API_KEYS", "SHOPLOOP_JWT_", "SHOPLOOP_HTTP_")
"""What would close the demo's own processes, on loopback, to the demo itself."""


def run_demo(options: DemoOptions, console: Console) -> dict[str, Any]:
    """Starts everything in a fresh folder, replays, stops everything; returns the report.

    Raises:
        BadSettings: a port is taken, a jar is wrong.
        Unavailable: a process did not come along in time.
    """
    began_s = time.monotonic()
    home = fresh_home(options.home)
    console.print(retail_source.LICENCE, style="dim", soft_wrap=True)

    def said(event: Happened) -> None:
        console.print(f"  {event.name:11} {event.what:9} {event.detail}", style="dim")

    open_here = {name: text for name, text in os.environ.items() if not name.startswith(_CLOSED)}
    place = options.ports or ports()
    with embedded(home, ports=place, report=said, environ=open_here) as runtime:
        started_s = time.monotonic() - began_s
        with replaying(runtime.settings, plan_of(options, runtime), console) as replay:
            replay.phase_s["start"] = started_s
            replay.run(retail_source.entries(retail_source.read_lines()))
            reported_s = time.monotonic()
            report = make_report(replay, time.monotonic() - began_s)
            report["phases"]["report"] = round(time.monotonic() - reported_s, 1)
            report["seconds"] = round(time.monotonic() - began_s, 1)
    return report


@contextlib.contextmanager
def replaying(settings: Settings, plan: Plan, console: Console) -> Iterator[Replay]:
    """A replay with its view, closed at the end of the block."""
    view = view_for(console)
    with view if isinstance(view, LiveView) else contextlib.nullcontext():
        replay = Replay(settings, plan, view)
        try:
            yield replay
        finally:
            replay.close()


def plan_of(options: DemoOptions, runtime: Runtime) -> Plan:
    """The replay of the demo: the first three months train the first version."""
    until_ms = event_time(TRAIN_UNTIL)
    return Plan(
        train_until_ms=until_ms,
        from_ms=max(until_ms, options.from_ms or until_ms),
        to_ms=options.to_ms,
        pace=options.pace,
        serving_urls=(runtime.serving_url(1), runtime.serving_url(2)),
    )


def fresh_home(home: Path) -> Path:
    """The demo's own folder under a home, emptied; folders of others are never touched."""
    folder = home / FOLDER
    marker = folder / ".shoploop-demo"
    if folder.exists() and not marker.exists() and any(folder.iterdir()):
        raise BadSettings(f"{folder} is not the demo's: move it away or pass another --home")
    with HomeLock(folder, "another demo or `shoploop up`"):
        for inside in folder.iterdir():
            if inside.is_dir() and not inside.is_symlink():
                shutil.rmtree(inside)
            elif inside.name != "lock":
                inside.unlink()
        marker.touch()
    return folder


def ports() -> Ports:
    """The fixed ports when all are free, any free ones otherwise."""
    fixed = Ports()
    taken = any(accepts(getattr(fixed, each.name)) for each in fields(fixed))
    return Ports.free() if taken else fixed


def export(folder: Path) -> str:
    """Writes the demo's data as a history for `shoploop replay`; returns the command for it."""
    folder.mkdir(parents=True, exist_ok=True)
    events, items = folder / "events.jsonl", folder / "items.jsonl"
    entries = retail_source.entries(retail_source.read_lines())
    left_out = write_json_lines(entries, events, items)
    said = ", ".join(f"{rule} {n}" for rule, n in left_out.items())
    return (
        f"{retail_source.LICENCE}\nLeft out by rule: {said}\n"
        f"shoploop replay {events} --items {items} --train-until {TRAIN_UNTIL}"
    )
