"""Rows of CSV, JSON Lines and plain text files as dictionaries of strings.

It knows no example: what a column means is in `trainer/corpus/mapping.py`.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, TextIO

import msgspec

from schemas.errors import BadSettings
from trainer.corpus.settings import FileSettings

LARGEST_FIELD = 1 << 24
"""Characters in a CSV field; a quote that never ends would else swallow the rest of the file."""

Row = dict[str, str]
_FORMATS = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".txt": "lines"}


def read_rows(path: Path, layout: FileSettings) -> Iterator[Row]:
    """The rows in order; undecodable bytes become U+FFFD, which cleaning counts.

    Raises:
        BadSettings: the file cannot be read as said; names the file, and the row where there is
            one.
    """
    form = format_of(path, layout)
    try:
        with path.open(
            encoding=_codec(path, layout.encoding), errors="replace", newline=""
        ) as file:
            if form == "csv":
                yield from _csv(file, path, layout)
            elif form == "jsonl":
                yield from _jsonl(file, path)
            else:
                yield from _lines(file, layout)
    except OSError as error:
        raise BadSettings(f"{path}: {error.strerror}") from error


def format_of(path: Path, layout: FileSettings) -> str:
    """How a file is read.

    Raises:
        BadSettings: `auto`, and the name's ending says nothing.
    """
    if layout.format != "auto":
        return layout.format
    if path.suffix.lower() not in _FORMATS:
        raise BadSettings(f"{path}: say its format, one of csv, jsonl, lines")
    return _FORMATS[path.suffix.lower()]


def _codec(path: Path, name: str) -> str:
    try:
        found = codecs.lookup(name).name
    except LookupError as error:
        raise BadSettings(f"{path}: unknown encoding {name!r}") from error
    return "utf-8-sig" if found == "utf-8" else found


def _csv(file: TextIO, path: Path, layout: FileSettings) -> Iterator[Row]:
    csv.field_size_limit(LARGEST_FIELD)
    separator = "\t" if path.suffix.lower() == ".tsv" else layout.separator
    try:
        reader = csv.reader(
            file,
            delimiter=separator,
            escapechar=layout.escape or None,
            doublequote=not layout.escape,
        )
    except TypeError as error:
        raise BadSettings(f"{path}: separator {separator!r}, escape: {error}") from error
    names: list[str] | None = None
    try:
        for fields in reader:
            if not fields:
                continue
            if names is None:
                names = [name.strip() for name in fields] if layout.header else _numbers(fields)
                if layout.header:
                    continue
            yield dict(zip_longest(names, fields[: len(names)], fillvalue=""))
    except csv.Error as error:
        raise BadSettings(f"{path}: line {reader.line_num}: {error}") from error


def _numbers(fields: list[str]) -> list[str]:
    return [str(number) for number in range(1, len(fields) + 1)]


def _jsonl(file: TextIO, path: Path) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            found = msgspec.json.decode(line.encode("utf-8", "surrogatepass"), type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise BadSettings(f"{path}: line {number}: {error}") from error
        yield {name: as_text(value) for name, value in found.items()}


def as_text(value: Any) -> str:
    """A column's value as text; nothing is the empty text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=str).decode()


def _lines(file: TextIO, layout: FileSettings) -> Iterator[Row]:
    for raw in file:
        line = raw.rstrip("\r\n")
        if not line.strip():
            continue
        if layout.label_separator:
            text, _, label = line.rpartition(layout.label_separator)
            yield {"text": text, "label": label.strip()}
        else:
            yield {"text": line}
