"""What the judge found, as a record and as text for people."""

from __future__ import annotations

from pathlib import Path

import msgspec

from core.text_metrics import ClassRow, Covered
from schemas.models import Gate, GateCheck

REPORT, READABLE = "report.json", "report.txt"
CONFUSED = 10


class Confused(msgspec.Struct, frozen=True, kw_only=True):
    """A class that was taken for another, and how often."""

    true: str
    said: str
    n: int


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Every figure and check of one candidate; `rivals` holds the same figures of each rival."""

    task: str
    gate: Gate
    figures: dict[str, float]
    rivals: dict[str, dict[str, float]] = {}
    classes: list[ClassRow] = []
    confusion: list[list[int]] = []
    confused: list[Confused] = []
    coverage: list[Covered] = []
    by_slice: dict[str, dict[str, float]] = {}
    temperature: float = 1.0

    @property
    def checks(self) -> list[GateCheck]:
        """The gate's checks."""
        return self.gate.checks


def most_confused(table: list[list[int]], labels: tuple[str, ...]) -> list[Confused]:
    """The pairs of classes that are taken for each other most, at most ten.

    >>> [(c.true, c.said, c.n) for c in most_confused([[5, 2], [0, 3]], ("a", "b"))]
    [('a', 'b', 2)]
    """
    found = [
        Confused(true=labels[i], said=labels[j], n=n)
        for i, row in enumerate(table)
        for j, n in enumerate(row)
        if i != j and n
    ]
    return sorted(found, key=lambda one: (-one.n, one.true, one.said))[:CONFUSED]


def readable(report: Report) -> str:
    """The report as lines of text."""
    said = "passed" if report.gate.passed else f"refused, {report.gate.reason}"
    parts = [f"{report.task}: {said}", "", *_checks(report.checks), "", *_figures(report)]
    if report.classes:
        parts += ["", *_classes(report.classes)]
    if report.confused:
        parts += ["", "taken for another most often"]
        parts += [f"  {one.n:5d}  {one.true} taken for {one.said}" for one in report.confused]
    if report.coverage:
        parts += ["", "confidence  answered  right  n"]
        parts += [
            f"{one.confidence:10.2f} {one.coverage:9.3f} {one.accuracy:6.3f}  {one.n}"
            for one in report.coverage
        ]
    return "\n".join(parts) + "\n"


def write_report(report: Report, folder: Path) -> None:
    """Writes the record and the text, each renamed into place."""
    folder.mkdir(parents=True, exist_ok=True)
    data = msgspec.json.format(msgspec.json.encode(report))
    for name, content in ((REPORT, data), (READABLE, readable(report).encode())):
        partial = folder / f"{name}.partial"
        partial.write_bytes(content)
        partial.replace(folder / name)


def read_report(folder: Path) -> Report:
    """The report that `write_report` wrote."""
    return msgspec.json.decode((folder / REPORT).read_bytes(), type=Report)


def _checks(checks: list[GateCheck]) -> list[str]:
    lines = [f"{'check':34s}         value  threshold  95 % interval         n"]
    for one in checks:
        mark = "ok" if one.passed else "REFUSED"
        bounds = f"{one.low:+.4f} to {one.high:+.4f}" if one.n else ""
        lines.append(
            f"{one.name:34s} {mark:7s} {one.value:+10.4g} {one.threshold:+10.4g}  {bounds:20s} "
            f"{one.n:5d} {one.detail}".rstrip()
        )
    return lines


def _figures(report: Report) -> list[str]:
    lines = [f"{name:24s} {value:10.4f}" for name, value in sorted(report.figures.items())]
    for rival, figures in report.rivals.items():
        told = ", ".join(f"{name} {value:.4f}" for name, value in sorted(figures.items()))
        lines.append(f"{rival:24s} {told}")
    return lines


def _classes(rows: list[ClassRow]) -> list[str]:
    width = max(len(one.label) for one in rows)
    lines = [f"{'class':{width}s}  precision  recall     f1      n"]
    lines += [
        f"{one.label:{width}s} {one.precision:10.3f} {one.recall:7.3f} {one.f1:6.3f} {one.n:6d}"
        for one in rows
    ]
    return lines
