"""How `shoploop query` and `shoploop status` show what they were told."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from console.lag import Lag
from console.query import FORMATS, SAVED, parameters, rendered, saved_query, title
from console.status import lag_text, span
from schemas.errors import BadSettings

COLUMNS = ["name", "n", "share"]
ROWS = [("a,b", 3, 0.5), ('say "é"', 12_345, 1 / 3)]


def test_csv_reads_back() -> None:
    assert list(csv.reader(io.StringIO(rendered("csv", COLUMNS, ROWS)))) == [
        COLUMNS,
        ["a,b", "3", "0.5"],
        ['say "é"', "12345", str(1 / 3)],
    ]


def test_json_reads_back() -> None:
    assert json.loads(rendered("json", COLUMNS, ROWS))[0] == {"name": "a,b", "n": 3, "share": 0.5}


def test_a_table_sets_numbers_right_and_shows_brackets_as_they_are() -> None:
    lines = rendered("table", ["text", "n"], [("[red]x[/]", 1), ("y", 1_000)]).splitlines()
    assert lines[1].split() == ["[red]x[/]", "1"]
    assert len(lines[1]) == len(lines[2])


@pytest.mark.parametrize("form", FORMATS)
def test_an_empty_answer_is_no_error(form: str) -> None:
    assert rendered(form, [], []).strip() in ("no rows", "[]", "")


def test_an_unknown_saved_query_lists_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "best.sql").write_text("-- The best of all\nSELECT 1\n")
    with pytest.raises(BadSettings, match=r"'worst'; there are: best \(The best of all\)"):
        saved_query("worst", tmp_path)
    assert saved_query("best", tmp_path).endswith("SELECT 1\n")


def test_every_saved_query_has_a_title() -> None:
    for path in SAVED.glob("*.sql"):
        assert path.read_text().startswith("-- ")
        assert title(path)


def test_a_lag_is_a_count_or_a_dash() -> None:
    assert (lag_text(Lag("g", 12_345)), lag_text(Lag("g", None))) == ("12,345", "-")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (90_000, "1 d 1 h"), (-3, "0 s")],
)
def test_a_span_has_two_units_at_most(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_given_parameters_stand_before_a_saved_querys_defaults() -> None:
    sql = "-- A title\n-- param age String = 'final': label age\n-- param n Int64 = 5: how many\n"
    assert parameters(sql, []) == {"age": "final", "n": "5"}
    assert parameters(sql, ["age=1h=x"]) == {"age": "1h=x", "n": "5"}
    with pytest.raises(BadSettings, match="expected NAME=VALUE"):
        parameters(sql, ["age"])


def test_every_parameter_of_a_saved_query_has_a_default() -> None:
    for path in SAVED.glob("*.sql"):
        text = path.read_text()
        assert set(re.findall(r"\{(\w+):\w+\}", text)) == set(parameters(text, [])), path.name
