"""The `[data]` section of a task file."""

from __future__ import annotations

from typing import Literal

import msgspec


class Columns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which column of the source holds which field of an example; an empty name: there is none."""

    text: str = "text"
    pair: str = ""
    label: str = ""
    value: str = ""
    at: str = ""
    group: str = ""
    slice: str = ""
    example_id: str = ""


class DataSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where examples come from and how they are divided.

    Paths are relative to the task file. `split` is `time` wherever time has a meaning, `given` when
    `test_files` name the test set, else `random` (by group where there are groups).
    """

    source: Literal["files", "clickhouse"] = "files"
    files: tuple[str, ...] = ()
    test_files: tuple[str, ...] = ()
    unlabelled_files: tuple[str, ...] = ()
    query: str = ""
    encoding: str = "utf-8"
    separator: str = ","
    columns: Columns = Columns()
    split: Literal["time", "random", "given"] = "random"
    valid_share: float = 0.1
    test_share: float = 0.2
