"""`shoploop query`: one statement to ClickHouse, its rows as a table, JSON or CSV."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapters.clickhouse import connected
from console.reach import reach_clickhouse
from core.settings import parse
from schemas.errors import BadSettings

HELP = "Ask ClickHouse: a statement of your own, or a saved one by name."
SAVED = Path(__file__).with_name("queries")
FORMATS = ("table", "json", "csv")
_ANSWERED_WITHIN_S = 300.0
_PARAMETER = re.compile(
    r"^-- param (?P<name>\w+) \w+ = (?:'(?P<quoted>[^']*)'|(?P<plain>[^:\s]+)):", re.MULTILINE
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `query`."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("sql", nargs="?", help="a statement of ClickHouse's SQL")
    what.add_argument("--saved", metavar="NAME", help="a saved query; an unknown name lists them")
    parser.add_argument(
        "--param",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a value for {NAME:Type} in the statement; saved queries name theirs at their head",
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="how rows are shown")


def run(arguments: argparse.Namespace) -> int:
    """Print the answer's rows."""
    sql = saved_query(arguments.saved) if arguments.saved else arguments.sql
    values = parameters(sql, arguments.param)
    dsn = parse(os.environ).clickhouse
    reach_clickhouse(dsn)
    with connected(dsn, deadline_s=_ANSWERED_WITHIN_S) as client:
        columns, rows = client.query_table(sql, values)
    print(rendered(arguments.format, columns, rows), end="")
    return 0


def parameters(sql: str, given: Sequence[str]) -> dict[str, str]:
    """The values of a statement's parameters: those given, else the defaults at its head.

    A default is a line such as `-- param age String = 'final': label age`.

    >>> parameters("-- param age String = 'final': label age\\nSELECT {age:String}", [])
    {'age': 'final'}

    Raises:
        BadSettings: a given one is not NAME=VALUE.
    """
    values = {
        found["name"]: found["quoted"] if found["quoted"] is not None else found["plain"]
        for found in _PARAMETER.finditer(sql)
    }
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise BadSettings(f"--param {each!r}: expected NAME=VALUE")
        values[name] = value
    return values


def rendered(form: str, columns: list[str], rows: list[tuple[Any, ...]]) -> str:
    """The rows as text in one of the formats."""
    if form == "json":
        return as_json(columns, rows)
    if form == "csv":
        return as_csv(columns, rows)
    if not columns:
        return "no rows\n"
    # A pipe has no width of its own: leave every column whole there.
    console = Console(width=None if sys.stdout.isatty() else 10_000)
    with console.capture() as capture:
        console.print(as_table(columns, rows))
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def saved_query(name: str, folder: Path = SAVED) -> str:
    """The text of a saved query.

    Raises:
        BadSettings: there is none of this name; the text lists those there are.
    """
    known = {path.stem: path for path in sorted(folder.glob("*.sql"))}
    if name not in known:
        titles = [f"{each} ({title(path)})" for each, path in known.items()]
        raise BadSettings(f"no saved query {name!r}; there are: {', '.join(titles) or 'none yet'}")
    return known[name].read_text(encoding="utf-8")


def title(path: Path) -> str:
    """The title of a saved query: its first line, a comment."""
    return path.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("--").strip()


def as_table(columns: list[str], rows: list[tuple[Any, ...]]) -> Table:
    """The rows as a table for a terminal; numbers stand right."""
    table = Table(box=None, header_style="bold")
    numeric = [
        bool(rows) and all(isinstance(row[n], int | float) for row in rows)
        for n in range(len(columns))
    ]
    for name, right in zip(columns, numeric, strict=True):
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    return table


def as_json(columns: list[str], rows: list[tuple[Any, ...]]) -> str:
    """The rows as one JSON list of objects.

    >>> as_json(["a"], [(1,)])
    '[{"a": 1}]\\n'
    """
    objects = [dict(zip(columns, row, strict=True)) for row in rows]
    return json.dumps(objects, default=str, ensure_ascii=False) + "\n"


def as_csv(columns: list[str], rows: list[tuple[Any, ...]]) -> str:
    """The rows as CSV with a header.

    >>> as_csv(["a", "b"], [(1, "x,y")])
    'a,b\\n1,"x,y"\\n'
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
