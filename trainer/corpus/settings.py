"""The `[data]` section of a task file."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Below1 = Annotated[float, msgspec.Meta(ge=0, lt=1)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Part = Literal["", "train", "valid", "test", "unlabelled"]


class Columns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which column of the source holds which field of an example; an empty name: there is none.

    `a+b` joins two columns with a space, `a|b` puts each on a line of its own. Without a header,
    columns are `1`, `2` and so on.
    """

    text: str = "text"
    pair: str = ""
    label: str = ""
    value: str = ""
    at: str = ""
    group: str = ""
    slice: str = ""
    example_id: str = ""


class FileSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files of one layout; `[[data.sources]]` names several where layouts differ.

    `format` is `csv`, `jsonl`, or `lines` (a text a line, its label after the last
    `label_separator` where one is given); `auto` goes by the name's ending. `escape` is the escape
    character of a CSV file. `part` places every row; `slice` and `label` are of every row.
    """

    files: tuple[str, ...]
    format: Literal["auto", "csv", "jsonl", "lines"] = "auto"
    encoding: str = "utf-8"
    separator: str = ","
    escape: str = ""
    header: bool = True
    label_separator: str = ""
    columns: Columns = Columns()
    part: Part = ""
    slice: str = ""
    label: str = ""


class DropRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows to leave out: `column` matches the pattern `matches`, or is a number out of bounds.

    `{ column = "InvoiceNo", matches = "^C", reason = "cancellation" }`
    """

    column: str
    reason: str
    matches: str = ""
    below: float | None = None
    above: float | None = None


class CleanSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How texts are tidied and which rows are left out; every row left out is counted by reason.

    Without `duplicates` texts repeat by nature: they are neither left out nor kept in one part.
    `near_duplicates` is the Jaccard similarity of 5-character shingles from which two texts are the
    same (0: do not look). `conflicts` says what becomes of one text with several labels: all of it
    left out, the most frequent label (the median value), or all of it kept. `only_language` leaves
    out texts that are plainly in another language than the task's.
    """

    encoding: bool = True
    html: bool = True
    shortest: Positive = 2
    longest: Positive = 20_000
    duplicates: bool = True
    near_duplicates: Below1 = 0.9
    conflicts: Literal["drop", "majority", "keep"] = "drop"
    only_language: bool = False
    drop: tuple[DropRule, ...] = ()


class WeakRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One vote for `label` where a keyword occurs as a word, or the pattern matches."""

    label: str
    keywords: tuple[str, ...] = ()
    matches: str = ""


class WeakSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Labels for unlabelled texts by rules: no vote, no label; a tie or little trust, no label.

    `combine` is the majority, or `model`: each rule's accuracy estimated from how the rules agree
    with known labels and with each other. The label's trust becomes the weight of its loss.
    """

    rules: tuple[WeakRule, ...] = ()
    combine: Literal["majority", "model"] = "model"
    least_votes: Positive = 1
    least_trust: Share = 0.6


class AugmentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changed copies of training texts: `copies` of each, a kind of change each, `share` of words.

    Synonyms are from `synonyms` (a file: a word and its synonyms a line, separated by commas or
    tabs), else from which words the training texts use alike. `weight` multiplies a copy's loss.
    """

    copies: Annotated[int, msgspec.Meta(ge=0, le=16)] = 0
    changes: tuple[Literal["synonym", "delete", "swap", "mask"], ...] = (
        "synonym", "delete", "swap", "mask",
    )  # fmt: skip
    share: Share = 0.1
    synonyms: str = ""
    mask: str = "[MASK]"
    weight: Annotated[float, msgspec.Meta(gt=0)] = 1.0


LeakName = Literal["same_text", "near_text", "group", "time", "label_words"]


class LeakageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Checks that stop a training when they fail, but for those that `allow` names.

    `label_words`: at most this share of texts may say their own label, and no other, in words.
    """

    allow: tuple[LeakName, ...] = ()
    label_words: Share = 0.5


class DataSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where examples come from and how they are divided.

    Paths are relative to the task file, or to the unpacked `archive` (a tar file) where one is
    named. `split` is `time` wherever time has a meaning, `given` when `test_files` name the test
    set, else `random` (by group where there are groups). `query` has `{until:Int64}` for the end of
    the data (`until_ms`, else now) and names its columns as `columns` says.
    """

    source: Literal["files", "clickhouse"] = "files"
    archive: str = ""
    files: tuple[str, ...] = ()
    test_files: tuple[str, ...] = ()
    unlabelled_files: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    """Files of labels that people gave, as `shoploop` exported them for labelling."""
    sources: tuple[FileSettings, ...] = ()
    query: str = ""
    until_ms: int = 0
    format: Literal["auto", "csv", "jsonl", "lines"] = "auto"
    encoding: str = "utf-8"
    separator: str = ","
    escape: str = ""
    header: bool = True
    label_separator: str = ""
    columns: Columns = Columns()
    split: Literal["time", "random", "given"] = "random"
    valid_share: Below1 = 0.1
    test_share: Below1 = 0.2
    clean: CleanSettings = CleanSettings()
    weak: WeakSettings = WeakSettings()
    augment: AugmentSettings = AugmentSettings()
    leakage: LeakageSettings = LeakageSettings()

    def layouts(self) -> tuple[FileSettings, ...]:
        """Every group of files to read, with the part its rows belong to."""
        named: tuple[tuple[tuple[str, ...], Part], ...] = (
            (self.files, ""), (self.test_files, "test"), (self.unlabelled_files, "unlabelled"),
        )  # fmt: skip
        own = tuple(
            FileSettings(
                files=files, part=part, format=self.format, encoding=self.encoding,
                separator=self.separator, escape=self.escape, header=self.header,
                label_separator=self.label_separator, columns=self.columns,
            )
            for files, part in named
            if files
        )  # fmt: skip
        return own + self.sources
