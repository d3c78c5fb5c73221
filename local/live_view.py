"""The live terminal view of a replay: the loop's rates and lags, hit rates by week, retrains.

Draws at most four times a second, whatever happens. Reads the replay and changes nothing.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from core.report import K
from local.replay import Replay
from local.replay_report import iso, retrain_rows
from local.replay_view import SHOWN_POLICIES, PlainView, View, live_version

DRAW_EVERY_S = 0.5
_BLOCKS = "▁▂▃▄▅▆▇█"
_STYLES = {"loop": "bold green", "control": "yellow"}
_WEEKS = 42
_PIPE_WIDTH = 160


def make_console() -> Console:
    """The console of this process; a pipe has no width of its own and gets a wide one."""
    console = Console()
    return console if console.is_terminal else Console(width=_PIPE_WIDTH)


def view_for(console: Console) -> LiveView | PlainView:
    """The live view on a terminal, plain lines elsewhere."""
    if console.is_terminal:
        return LiveView(console)
    return PlainView(lambda text: console.print(text, highlight=False, soft_wrap=True))


class LiveView(View):
    """Draws while the `with` block runs."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._what = "starting"
        self._drawn_s = 0.0
        self._began_s = time.monotonic()
        self._before = (self._began_s, 0, 0)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def phase(self, what: str) -> None:
        """Shows the phase from the next drawing on."""
        self._what = what
        self._drawn_s = 0.0

    def barrier(self, replay: Replay) -> None:
        """Draws when it is time."""
        self.tick(replay)

    def tick(self, replay: Replay) -> None:
        """Draws when it is time."""
        now_s = time.monotonic()
        if now_s - self._drawn_s >= DRAW_EVERY_S:
            self._drawn_s = now_s
            self._live.update(self._drawing(replay, now_s), refresh=True)

    def _drawing(self, replay: Replay, now_s: float) -> Group:
        parts: list[Any] = [self._strip(replay, now_s)]
        parts += [rates(replay, surface) for surface in replay.settings.surface_names]
        parts.append(retrains(replay))
        return Group(*parts)

    def _strip(self, replay: Replay, now_s: float) -> Panel:
        then_s, events, predictions = self._before
        span_s = max(now_s - then_s, 1e-3)
        line = Text.assemble(
            (f"{iso(replay.now_ms)[:16]}  ", "bold"),
            f"{(replay.sender.events - events) / span_s:6.0f} events/s  ",
            f"{(replay.inbox.predictions - predictions) / span_s:6.0f} predictions/s  ",
            f"{_lag(replay)}  ",
            (f"version {live_version(replay) or 'none'}", "cyan"),
        )
        if span_s >= 1:
            self._before = (now_s, replay.sender.events, replay.inbox.predictions)
        spent = f"{now_s - self._began_s:.0f} s"
        return Panel(line, title=f"shoploop · {self._what}", subtitle=spent, title_align="left")


def _lag(replay: Replay) -> str:
    lags = replay.waits.lags_ms(replay.now_ms)
    lags.pop("trainer", None)
    if not lags:
        return "no process yet"
    name, lag_ms = max(lags.items(), key=lambda each: each[1])
    return f"{name} {lag_ms / 3_600_000:.1f} h behind" if lag_ms else "all at the barrier"


def rates(replay: Replay, surface: str) -> Table:
    """Hit rates of one surface: a spark line over the weeks, the newest week and the whole."""
    table = Table(box=None, title=f"{surface} · HR@{K} by week", title_justify="left")
    for heading in ("policy", "weeks", "newest", "all"):
        table.add_column(heading, justify="left" if heading in ("policy", "weeks") else "right")
    tally = replay.player.tally
    weeks = tally.weeks()[-_WEEKS:]
    for policy in SHOWN_POLICIES:
        by_week = [tally.rate(surface, policy, week) for week in weeks]
        newest = next((rate for rate in reversed(by_week) if rate is not None), None)
        cells = (policy, spark(by_week), _figure(newest), _figure(tally.rate(surface, policy)))
        table.add_row(*cells, style=_STYLES.get(policy))
    return table


def spark(values: list[float | None], low: float = 0.0, high: float = 1.0) -> str:
    """One block character a value, a space where there is none.

    >>> spark([0.0, 0.5, None, 1.0])
    '▁▅ █'
    """
    span = high - low
    top = len(_BLOCKS) - 1
    return "".join(
        " "
        if value is None
        else _BLOCKS[min(top, max(0, int((value - low) / span * len(_BLOCKS))))]
        for value in values
    )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def retrains(replay: Replay) -> Table:
    """The accepted retrains so far, with how each ended."""
    table = Table(box=None, title="retrains", title_justify="left")
    for heading in ("asked", "kind", "version", "outcome"):
        table.add_column(heading)
    for row in retrain_rows(replay):
        table.add_row(
            row["requested_event_time"][:16], row["kind"], row["model_version"] or "", outcome(row)
        )
    return table


def outcome(row: dict[str, Any]) -> str:
    """How a retrain ended, in a few words.

    >>> outcome({"gate": None, "promoted_event_time": None, "rejected": None})
    'training'
    """
    if row["promoted_event_time"]:
        return f"promoted {row['promoted_event_time'][:16]}"
    if row["rejected"] is not None:
        return f"rejected: {row['rejected']}"
    if row["gate"] is None:
        return "training"
    if not row["gate"]["passed"]:
        return f"refused by the gate: {row['gate']['reason']}"
    return "in shadow"
