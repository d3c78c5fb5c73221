"""A replay's report as a table for a terminal, and as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from core.report import POLICIES
from local.live_view import outcome
from schemas.errors import BadSettings


def write_report(report: dict[str, Any], path: Path) -> None:
    """Writes the report as JSON.

    Raises:
        BadSettings: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    except OSError as error:
        raise BadSettings(f"{path} cannot be written: {error}") from error


def show_report(report: dict[str, Any], console: Console) -> None:
    """Prints the figures, the retrains and the account."""
    span = report["span"]
    console.print(
        f"\n[bold]{span['from'][:10]} to {span['to'][:10]}[/], {report['requests']} requests, "
        f"{report['predictions']} predictions, {report['outcomes']} outcomes, "
        f"{report['events']} events in {report['seconds']:.0f} s"
    )
    for surface in report["surfaces"]:
        console.print(_surface(report, surface))
    console.print(_retrains(report))
    console.print(account(report), highlight=False, soft_wrap=True)


def _surface(report: dict[str, Any], surface: str) -> Table:
    figures = report["surfaces"][surface]
    table = Table(box=None, title=f"\n{surface}, n = {figures['loop']['n']}", title_justify="left")
    table.add_column("policy")
    for heading in ("HR@10", "recall@10", "loop above it in HR@10 (95 % interval)"):
        table.add_column(heading, justify="right")
    above = {
        row["rival"]: f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
        for row in report["comparisons"]
        if row["surface"] == surface and row["metric"] == "hr10"
    }
    for policy in POLICIES:
        one = figures[policy]
        cells = (policy, f"{one['hr10']:.3f}", f"{one['recall10']:.3f}", above.get(policy, ""))
        table.add_row(*cells, style="bold green" if policy == "loop" else None)
    return table


def _retrains(report: dict[str, Any]) -> Table:
    table = Table(box=None, title="\nretrains", title_justify="left")
    for heading in ("asked", "kind", "reason", "version", "outcome", "slowest swap"):
        table.add_column(heading)
    for row in report["retrains"]:
        swaps = [took for took in row["announce_to_swap_ms"].values() if took is not None]
        table.add_row(
            row["requested_event_time"][:16],
            row["kind"],
            row["reason"],
            row["model_version"] or "",
            outcome(row),
            f"{max(swaps):.0f} ms" if swaps else "",
        )
    return table


def account(report: dict[str, Any]) -> str:
    """What became of every record, in a sentence.

    >>> account({"lost": 0, "duplicated": 0, "dead_letters": {"bad": 2}, "exclusions": {},
    ...          "http_asked": 5, "http_failed": 0, "mixed_versions": 0})
    '0 lost, 0 duplicated; dead letters: bad 2; left out: none; HTTP: 0 of 5 failed; 0 answers of \
another version than the live one'
    """
    dead = ", ".join(f"{reason} {n}" for reason, n in report["dead_letters"].items()) or "none"
    left_out = ", ".join(f"{rule} {n}" for rule, n in report["exclusions"].items()) or "none"
    return (
        f"{report['lost']} lost, {report['duplicated']} duplicated; dead letters: {dead}; "
        f"left out: {left_out}; HTTP: {report['http_failed']} of {report['http_asked']} failed; "
        f"{report['mixed_versions']} answers of another version than the live one"
    )
