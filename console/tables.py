"""Rows as text for a terminal: a table where it fits, one record after the other where not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.cells import cell_len

Row = Sequence[Any]
_GAP = "  "


def as_text(columns: Sequence[str], rows: Sequence[Row], width: int | None) -> str:
    """The rows as lines, each with its newline.

    Args:
        columns: their names.
        rows: one value per column.
        width: of the terminal, in cells; None where lines may be of any length.

    >>> print(as_text(["day", "n"], [("Monday", 1), ("Friday", 12)], 40), end="")
    day      n
    Monday   1
    Friday  12
    >>> print(as_text(["day", "n"], [("Monday", 1)], 8), end="")
    day  Monday
    n    1
    """
    cells = [[cell(value) for value in row] for row in rows]
    widths = [
        max(cell_len(name), *(cell_len(row[n]) for row in cells)) if cells else cell_len(name)
        for n, name in enumerate(columns)
    ]
    if width is not None and sum(widths) + len(_GAP) * (len(widths) - 1) > width:
        return _records(columns, cells)
    right = [bool(rows) and all(isinstance(row[n], int | float) for row in rows)
             for n in range(len(columns))]  # fmt: skip
    return "".join(_line(row, widths, right) for row in [list(columns), *cells])


def cell(value: Any) -> str:
    """One value as it is shown: nothing for null, and no character that moves the cursor.

    >>> cell([1, None, 0.123456789]), cell({"n": 2.0}), cell("a\\nb"), cell(None)
    ('1, , 0.123457', 'n 2', 'a\\\\nb', '')
    >>> cell(datetime(2026, 9, 21, 14, 13, 20, 500_000)), cell(datetime(2026, 9, 21))
    ('2026-09-21 14:13:20.500', '2026-09-21 00:00:00')
    """
    match value:
        case None:
            return ""
        case float():
            return _number(value)
        case datetime():
            parts = "milliseconds" if value.microsecond else "seconds"
            return value.isoformat(sep=" ", timespec=parts)
        case list() | tuple():
            return ", ".join(map(cell, value))
        case dict():
            return ", ".join(f"{cell(key)} {cell(each)}" for key, each in value.items())
    text = str(value)
    return text if text.isprintable() else "".join(map(_shown, text))


def _number(value: float) -> str:
    """Six digits, or of what is large all before the point and cents: sums of money.

    >>> _number(0.123456789), _number(1_234_567.891), _number(12_345.0), _number(1e22)
    ('0.123457', '1234567.89', '12345', '1e+22')
    """
    if 1e4 <= abs(value) < 1e15:
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return f"{value:.6g}"


def _shown(character: str) -> str:
    return character if character.isprintable() else repr(character)[1:-1]


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = []
    for text, width, is_right in zip(row, widths, right, strict=True):
        blank = " " * (width - cell_len(text))
        padded.append(blank + text if is_right else text + blank)
    return _GAP.join(padded).rstrip() + "\n"


def _records(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    width = max(map(cell_len, columns))
    shown = [
        "".join(
            f"{name}{' ' * (width - cell_len(name))}{_GAP}{text}".rstrip() + "\n"
            for name, text in zip(columns, row, strict=True)
        )
        for row in cells
    ]
    return "\n".join(shown)
