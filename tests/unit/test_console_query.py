"""How `shoploop query` and `shoploop status` show what they were told."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from console.lag import Lag
from console.main import main
from console.query import FORMATS, listed, rendered
from console.saved import SAVED, declared, parameters, saved_queries, saved_query
from console.status import lag_text, span
from console.tables import as_text
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
    with pytest.raises(BadSettings, match=r"'bestt': best\?"):
        saved_query("bestt", tmp_path)
    assert saved_query("best", tmp_path).endswith("SELECT 1\n")


def test_every_saved_query_has_a_title_and_says_what_each_parameter_means() -> None:
    for each in saved_queries():
        assert each.title
        assert "-- include" not in each.sql
        assert all(parameter.meaning for parameter in each.parameters), each.name
        used = set(re.findall(r"\{(\w+):", each.sql))
        assert used == {parameter.name for parameter in each.parameters}, each.name


def test_a_part_stands_where_it_is_included(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "one.sql").write_text(
        "-- param n Int64 = 1: a number\nSELECT {n:Int64}\n"
    )
    (tmp_path / "whole.sql").write_text("-- Whole\nWITH part AS (\n-- include one\n)\nSELECT 2\n")
    sql = saved_query("whole", tmp_path)
    assert sql.endswith("SELECT {n:Int64}\n)\nSELECT 2\n")
    assert [each.name for each in declared(sql)] == ["n"]


def test_a_parameter_that_the_statement_has_not_is_refused() -> None:
    with pytest.raises(BadSettings, match="has no surfce; it has surface"):
        parameters("-- param surface String = '': x\nSELECT {surface:String}", ["surfce=home"])
    assert parameters("SELECT {n:Int64}", ["n=3"]) == {"n": "3"}


def test_the_list_names_every_query_with_its_defaults() -> None:
    rows = {name: values for name, _, values in listed()}
    assert "window_ms=86400000" in rows["report_hit_rate"]


def test_the_page_explains_every_saved_query_and_no_other() -> None:
    page = (SAVED.parents[1] / "docs" / "analytics.md").read_text()
    explained = re.findall(r"^\| `(\w+)` \|", page.partition("## Saved queries")[2], re.MULTILINE)
    assert sorted(explained) == [each.name for each in saved_queries()]


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


def test_a_saved_query_is_shown_whole_without_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "--saved", "rates", "--show"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("-- Interaction, cart and purchase rates")
    assert "FROM outcomes" in shown
    assert main(["query", "--list", "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("name,question,parameters\n")


def test_what_is_too_wide_for_the_terminal_is_shown_as_records() -> None:
    rows = [("a" * 30, 1), ("b", None)]
    assert as_text(["text", "n"], rows, 34).splitlines()[1] == "a" * 30 + "  1"
    assert as_text(["text", "n"], rows, 32).splitlines() == [
        *("text  " + "a" * 30, "n     1", ""),
        *("text  b", "n"),
    ]


def test_wide_letters_count_as_two_cells_and_control_characters_are_spelt_out() -> None:
    lines = as_text(["t", "n"], [("茶碗", 1), ("\x1b[2J", 2)], None).splitlines()
    assert lines == ["t        n", "茶碗     1", "\\x1b[2J  2"]


def test_tens_of_thousands_of_rows_are_shown_without_a_layout_of_each() -> None:
    rows = [(str(n), n) for n in range(20_000)]
    assert as_text(["text", "n"], rows, 80).count("\n") == 20_001
