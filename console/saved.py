"""The saved queries: files of SQL with a head of comments, some of them sharing parts.

`-- include NAME` stands for the text of `queries/parts/NAME.sql`; `-- param NAME Type = default:
meaning` gives a parameter its default. The first line is the query's title.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import msgspec

from schemas.errors import BadSettings

SAVED = Path(__file__).with_name("queries")
_INCLUDE = re.compile(r"^-- include (?P<name>\w+)\n", re.MULTILINE)
_PARAMETER = re.compile(
    r"^-- param (?P<name>\w+) (?P<type>\w+) = (?:'(?P<quoted>[^']*)'|(?P<plain>[^:\s]+)):"
    r"(?P<meaning>.*)$",
    re.MULTILINE,
)


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of a statement."""

    name: str
    type: str
    default: str
    meaning: str


class Saved(msgspec.Struct, frozen=True):
    """One saved query, its parts put in."""

    name: str
    title: str
    sql: str
    parameters: list[Parameter]


def saved_queries(folder: Path = SAVED) -> list[Saved]:
    """Every saved query, by name."""
    return [_read(path) for path in sorted(folder.glob("*.sql"))]


def saved_query(name: str, folder: Path = SAVED) -> str:
    """The text of a saved query, its parts put in.

    Raises:
        BadSettings: there is none of this name; the text lists those there are.
    """
    path = folder / f"{name}.sql"
    if not re.fullmatch(r"\w+", name) or not path.is_file():
        titles = [f"{each.name} ({each.title})" for each in saved_queries(folder)]
        near = get_close_matches(name, [each.partition(" ")[0] for each in titles])
        if near:
            raise BadSettings(
                f"no saved query {name!r}: {' or '.join(near)}? `shoploop query --list` has all"
            )
        raise BadSettings(f"no saved query {name!r}; there are: {', '.join(titles) or 'none yet'}")
    return _read(path).sql


def declared(sql: str) -> list[Parameter]:
    """The parameters that a statement declares, each once.

    >>> declared("-- param age String = 'final': label age\\nSELECT {age:String}")
    [Parameter(name='age', type='String', default='final', meaning='label age')]
    """
    found: dict[str, Parameter] = {}
    for match in _PARAMETER.finditer(sql):
        default = match["quoted"] if match["quoted"] is not None else match["plain"]
        parameter = Parameter(match["name"], match["type"], default, match["meaning"].strip())
        found.setdefault(parameter.name, parameter)
    return list(found.values())


def parameters(sql: str, given: Sequence[str]) -> dict[str, str]:
    """The values of a statement's parameters: those given, else their defaults.

    >>> parameters("-- param age String = 'final': label age\\nSELECT {age:String}", [])
    {'age': 'final'}

    Raises:
        BadSettings: a given one is not NAME=VALUE, or the statement has none of this name.
    """
    values = {each.name: each.default for each in declared(sql)}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise BadSettings(f"--param {each!r}: expected NAME=VALUE")
        if name not in values and f"{{{name}:" not in sql:
            known = ", ".join(values) or "none"
            raise BadSettings(f"--param {each!r}: the statement has no {name}; it has {known}")
        values[name] = value
    return values


def _read(path: Path) -> Saved:
    text = path.read_text(encoding="utf-8")
    title = text.split("\n", 1)[0].removeprefix("--").strip()
    sql = _whole(text, path.parent / "parts")
    return Saved(path.stem, title, sql, declared(sql))


def _whole(text: str, parts: Path) -> str:
    """The text with its parts, and theirs, put in."""
    return _INCLUDE.sub(
        lambda found: _whole((parts / f"{found['name']}.sql").read_text(encoding="utf-8"), parts),
        text,
    )
