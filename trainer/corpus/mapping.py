"""Rows become examples: what each column means, and which rows a task file leaves out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime

from schemas.errors import BadSettings
from trainer.corpus.examples import Example
from trainer.corpus.files import Row
from trainer.corpus.settings import Columns, DropRule, FileSettings

Lines = tuple[tuple[str, ...], ...]
_FIELDS = ("text", "pair", "label", "value", "at", "group", "slice", "example_id")


class Mapping:
    """Makes examples of the rows of one place; `dropped` counts by reason what it left out."""

    def __init__(self, place: str, layout: FileSettings, rules: tuple[DropRule, ...] = ()) -> None:
        self._place = place
        self._layout = layout
        self._columns = _lines_columns(layout)
        self._rules = [(rule, _pattern(place, rule)) for rule in rules]
        self._sources: dict[str, Lines] = {}
        self.rows = 0
        self.dropped: dict[str, int] = {}

    def examples(self, rows: Iterable[Row]) -> list[Example]:
        """The rows that can be used, in order.

        Raises:
            BadSettings: no row has a column that is named; names the column and the place.
        """
        found = []
        unseen: set[str] = set()
        seen: dict[str, None] = {}
        for row in rows:
            self.rows += 1
            if self.rows == 1:
                self._sources = self._resolve(row)
                unseen = {
                    name for lines in self._sources.values() for each in lines for name in each
                }
            if unseen:
                seen |= dict.fromkeys(row)
                unseen -= row.keys()
            made = self._example(row)
            if isinstance(made, str):
                self.dropped[made] = self.dropped.get(made, 0) + 1
            else:
                found.append(made)
        if unseen:
            raise BadSettings(f"{self._place}: no column {min(unseen)!r}; it has {', '.join(seen)}")
        return found

    def _resolve(self, row: Row) -> dict[str, Lines]:
        named = {field: getattr(self._columns, field) for field in _FIELDS}
        return {
            field: ((name,),) if name in row else _lines_of(name)
            for field, name in named.items()
            if name
        }

    def _example(self, row: Row) -> Example | str:
        for rule, pattern in self._rules:
            # A rule may be of another source's column.
            if rule.column in row and _applies(rule, pattern, row[rule.column]):
                return rule.reason
        fields = {field: _joined(row, lines) for field, lines in self._sources.items()}
        if any("\ufffd" in text for text in fields.values()):
            return "encoding"
        value, at_ms = number_of(fields.get("value", "")), millis_of(fields.get("at", ""))
        if value is None and fields.get("value"):
            return "not a number"
        if at_ms is None:
            return "not a time"
        return Example(
            example_id=fields.get("example_id") or f"{self._place}:{self.rows}",
            text=fields["text"],
            pair=fields.get("pair", ""),
            label=fields.get("label", "") or self._layout.label,
            value=value,
            at_ms=at_ms,
            group=fields.get("group", ""),
            slice=fields.get("slice", "") or self._layout.slice,
        )


def number_of(text: str) -> float | None:
    """A finite number, or nothing.

    >>> number_of("2.5"), number_of("nan"), number_of("many")
    (2.5, None, None)
    """
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def millis_of(text: str) -> int | None:
    """UTC epoch milliseconds of a number of them or of an ISO 8601 time; 0 where there is no text.

    >>> millis_of("1970-01-01T00:00:01Z"), millis_of("1970-01-02"), millis_of("1500"), millis_of("")
    (1000, 86400000, 1500, 0)
    >>> millis_of("yesterday")
    """
    if not text:
        return 0
    number = number_of(text)
    if number is not None:
        return int(number)
    try:
        found = datetime.fromisoformat(text)
        moment = found if found.tzinfo else found.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1_000)
    except (ValueError, OverflowError):
        return None


def _lines_columns(layout: FileSettings) -> Columns:
    if layout.label_separator and not layout.columns.label:
        return Columns(text=layout.columns.text, label="label")
    return layout.columns


def _lines_of(name: str) -> Lines:
    return tuple(tuple(part.strip() for part in line.split("+")) for line in name.split("|"))


def _joined(row: Row, lines: Lines) -> str:
    """Columns of a line with a space between; a line of several keeps to itself."""
    found = [" ".join(filter(None, (row.get(name, "").strip() for name in line))) for line in lines]
    if len(found) == 1:
        return found[0]
    return "\n".join(filter(None, (" ".join(each.split()) for each in found)))


def _pattern(place: str, rule: DropRule) -> re.Pattern[str] | None:
    if not rule.matches:
        return None
    try:
        return re.compile(rule.matches)
    except re.error as error:
        raise BadSettings(f"{place}: drop rule {rule.reason!r}: {error}") from error


def _applies(rule: DropRule, pattern: re.Pattern[str] | None, text: str) -> bool:
    if pattern is not None and pattern.search(text):
        return True
    number = number_of(text)
    if number is None:
        return False
    low = rule.below is not None and number < rule.below
    return low or (rule.above is not None and number > rule.above)
