"""`shoploop status`: processes, consumer lag, live model versions, the newest metric."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from adapters.clickhouse import connected, dsn_of
from adapters.home import home_of
from adapters.kafka import Follower
from console.alerts import line_of, newest_alerts
from console.lag import Lag, group_lags
from console.reach import reach_clickhouse
from core.settings import Settings, parse
from local.state import HomeState, ProcessState, is_running, read_state
from schemas import topics
from schemas.codec import Decoder
from schemas.errors import FeedbackError
from schemas.models import ModelPointer

HELP = "Show processes, consumer lag, live model versions and the age of the newest metric."
_ANSWER_WITHIN_S = 5.0
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `status`."""
    parser.add_argument("--home", type=Path, help="where all state lives (SHOPLOOP_HOME)")


def run(arguments: argparse.Namespace) -> int:
    """Print what is known; 1 when something that was started does not run or does not answer."""
    console = Console(highlight=False, soft_wrap=True)
    settings = parse(os.environ)
    home = arguments.home or home_of(settings)
    state = read_state(home)
    if state is not None:
        settings = state.reached_by(settings)
    well = _show_processes(console, state, home)
    for show in (_show_kafka, _show_alerts, _show_metric_age):
        try:
            show(console, settings)
        except FeedbackError as error:
            console.print(f"[red]●[/] {escape(str(error))}")
            well = False
    return 0 if well else 1


def _show_processes(console: Console, state: HomeState | None, home: Path) -> bool:
    if state is None:
        console.print(
            f"no `shoploop up` has run in {escape(str(home))} (--home says where); "
            "asking the addresses of the settings"
        )
        return True
    table = _table("process", "pid", "state", "restarts", "uptime", "port")
    now_s = time.time()
    for each in state.processes:
        running = is_running(each.pid, each.created_at_s)
        table.add_row(
            each.name,
            str(each.pid) if running else "-",
            each.state if running else "stopped",
            str(each.restarts),
            span(now_s - each.started_at_s) if running else "-",
            str(each.port),
        )
    console.print(table)
    return all(_well(each) for each in state.processes)


def _well(state: ProcessState) -> bool:
    return state.state == "ready" and is_running(state.pid, state.created_at_s)


def _show_kafka(console: Console, settings: Settings) -> None:
    table = _table("group", "lag")
    for lag in group_lags(settings):
        table.add_row(lag.group, lag_text(lag))
    console.print(table)
    pointers = live_models(settings)
    if not pointers:
        console.print("no model version is live yet")
    for pointer in pointers:
        challenger = f", challenger {pointer.challenger}" if pointer.challenger else ""
        canary = f", canary at {pointer.canary_percent} %" if pointer.canary else ""
        pinned = ", pinned" if pointer.pinned else ""
        champion = pointer.champion or "none"
        console.print(f"{pointer.task}: champion {champion}{challenger}{canary}{pinned}")


def _show_alerts(console: Console, settings: Settings) -> None:
    console.print(escape(line_of(newest_alerts(settings, _ANSWER_WITHIN_S))))


def _show_metric_age(console: Console, settings: Settings) -> None:
    newest_ms = newest_metric_ms(settings)
    if newest_ms is None:
        console.print("no metric yet")
        return
    console.print(f"newest metric window ended {span(time.time() - newest_ms / 1000)} ago")


def live_models(settings: Settings) -> Sequence[ModelPointer]:
    """The newest pointer of each task in the topic `models`, none while the topic is missing.

    Raises:
        Unavailable: the broker does not answer.
    """
    reader = Follower(settings, (topics.MODELS,))
    decode = Decoder(ModelPointer)
    newest: dict[str, ModelPointer] = {}
    try:
        for _, message in reader.catch_up(_ANSWER_WITHIN_S):
            if message.value() is not None:
                pointer = decode(message.value())
                newest[pointer.task] = pointer
    finally:
        reader.close()
    return [newest[task] for task in sorted(newest)]


def newest_metric_ms(settings: Settings) -> int | None:
    """The end of the newest window in the table `metrics`, none while there is none.

    Raises:
        Unavailable: ClickHouse does not answer.
    """
    reach_clickhouse(settings.clickhouse)
    with connected(dsn_of(settings), deadline_s=_ANSWER_WITHIN_S) as client:
        if client.query_rows("EXISTS TABLE metrics") != [(1,)]:
            return None
        found = client.query_rows("SELECT toInt64(max(window_end_ms)) FROM metrics")
    return int(found[0][0]) or None if found else None


def lag_text(lag: Lag) -> str:
    """The lag as shown: a count, or a dash for a group that never committed."""
    return "-" if lag.records is None else f"{lag.records:,}"


def span(seconds: float) -> str:
    """A span of time in its two greatest units.

    >>> span(3_725), span(12.3)
    ('1 h 2 min', '12 s')
    """
    left = int(max(0.0, seconds))
    parts: list[str] = []
    for size, unit in _UNITS:
        if left >= size or (size == 1 and not parts):
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2])


def _table(*names: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for n, name in enumerate(names):
        table.add_column(name, justify="left" if n == 0 else "right")
    return table
