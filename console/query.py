"""`shoploop query`: one statement to ClickHouse, its rows as a table, JSON or CSV."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import shutil
import sys
from typing import Any

from adapters.clickhouse import connected, dsn_of
from console.reach import reach_clickhouse
from console.saved import parameters, saved_queries, saved_query
from console.tables import as_text
from core.settings import parse

HELP = "Ask ClickHouse: a statement of your own, or a saved one by name."
FORMATS = ("table", "json", "csv")
_ANSWERED_WITHIN_S = 300.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `query`."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("sql", nargs="?", help="a statement of ClickHouse's SQL")
    what.add_argument("--saved", metavar="NAME", help="a saved query")
    what.add_argument("--list", action="store_true", help="the saved queries and their parameters")
    parser.add_argument(
        "--param",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a value for {NAME:Type} in the statement; saved queries name theirs at their head",
    )
    parser.add_argument("--show", action="store_true", help="print the statement, do not ask it")
    parser.add_argument("--format", choices=FORMATS, default="table", help="how rows are shown")


def run(arguments: argparse.Namespace) -> int:
    """Print the answer's rows."""
    if arguments.list:
        print(rendered(arguments.format, ["name", "question", "parameters"], listed()), end="")
        return 0
    sql = saved_query(arguments.saved) if arguments.saved else arguments.sql
    if arguments.show:
        print(sql, end="")
        return 0
    values = parameters(sql, arguments.param)
    dsn = dsn_of(parse(os.environ))
    reach_clickhouse(dsn)
    with connected(dsn, deadline_s=_ANSWERED_WITHIN_S) as client:
        columns, rows = client.query_table(sql, values)
    print(rendered(arguments.format, columns, rows), end="")
    if arguments.saved and values and not rows:
        said = " ".join(f"{name}={value}" for name, value in values.items())
        print(f"asked with {said}; --param changes it", file=sys.stderr)
    return 0


def listed() -> list[tuple[Any, ...]]:
    """The saved queries as rows: name, title, parameters with their defaults."""
    return [
        (each.name, each.title, " ".join(f"{p.name}={p.default}" for p in each.parameters))
        for each in saved_queries()
    ]


def rendered(form: str, columns: list[str], rows: list[tuple[Any, ...]]) -> str:
    """The rows as text in one of the formats."""
    if form == "json":
        return as_json(columns, rows)
    if form == "csv":
        return as_csv(columns, rows)
    if not rows:
        return "no rows\n"
    # A pipe has no width of its own: leave every row whole there.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return as_text(columns, rows, width)


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
