"""Builds a task's corpus: reads, cleans, divides, labels, augments, checks, and describes it."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from core.settings import Settings
from schemas.errors import BadSettings
from trainer.corpus.archive import digest_of, unpacked
from trainer.corpus.augment import augmented, synonyms_for
from trainer.corpus.card import describe, write_card
from trainer.corpus.clean import Cleaned, Placed, clean
from trainer.corpus.examples import Corpus, Example, labels_of, write_corpus
from trainer.corpus.files import read_rows
from trainer.corpus.leakage import leaks, refuse_leaks
from trainer.corpus.mapping import Mapping
from trainer.corpus.querying import query_rows, without_consent
from trainer.corpus.settings import FileSettings, WeakSettings
from trainer.corpus.splits import divide
from trainer.corpus.uncertain import read_back, with_answers
from trainer.corpus.weak import label_weakly
from trainer.task import Kind, Task

_log = logging.getLogger(__name__)


@dataclass
class Read:
    """What was read: examples with the part their source says, and where from."""

    placed: list[Placed] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    rows: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


def build_corpus(task: Task, folder: Path, settings: Settings | None = None) -> Corpus:
    """The task's examples in their parts; writes them, the labels and the data card to `folder`.

    Raises:
        BadSettings: a source cannot be read as the task file says, or leaves a part empty.
        RejectedModel: the training part gives the test part away.
        Unavailable: ClickHouse did not answer.
    """
    read = _read(task, settings)
    answers = [read_back(task.path(name)) for name in task.data.answers]
    placed, unused = with_answers(read.placed, answers, task.kind)
    titled = task.kind == "search"
    cleaned = clean(placed, task.data.clean, task.language, titled=titled)
    corpus, rules = label_weakly(_divided(task, cleaned), _weak(task))
    checks = leaks(corpus, task.data.leakage)
    corpus = _augmented(task, corpus)
    dropped = read.dropped + cleaned.dropped
    card = describe(task, corpus, read.sources, dropped, checks)
    card |= {"weak_rules_accuracy": rules, "answers_unused": dict(+unused)}
    write_corpus(corpus, folder)
    write_card(card, folder)
    _log.info(
        "corpus %s: %d rows, %d train, %d valid, %d test, %d unlabelled, left out %s",
        task.task, read.rows, len(corpus.train), len(corpus.valid), len(corpus.test),
        len(corpus.unlabelled), dict(dropped),
    )  # fmt: skip
    refuse_leaks(checks)
    return corpus


def is_known(kind: Kind, one: Example) -> bool:
    """Whether an example has what its kind of task learns from."""
    if kind == "classify":
        return bool(one.label)
    if kind == "regress":
        return one.value is not None
    return kind == "recommend" or bool(one.pair)


def _weak(task: Task) -> WeakSettings:
    if task.data.weak.rules and task.kind != "classify":
        raise BadSettings(f"data.weak.rules give labels, and a {task.kind} task has none")
    return task.data.weak


def _augmented(task: Task, corpus: Corpus) -> Corpus:
    settings = task.data.augment
    path = task.path(settings.synonyms) if settings.synonyms else None
    synonyms = synonyms_for(corpus.train, settings, path)
    copies = augmented(corpus.train, settings, task.seed, synonyms)
    better: Corpus = msgspec.structs.replace(corpus, train=[*corpus.train, *copies])
    return better


def _read(task: Task, settings: Settings | None) -> Read:
    return _read_query(task, settings) if task.data.source == "clickhouse" else _read_files(task)


def _read_query(task: Task, settings: Settings | None) -> Read:
    if settings is None:
        raise BadSettings("data.source = 'clickhouse' needs SHOPLOOP_CLICKHOUSE")
    rows, source = query_rows(task.data, settings)
    allowed = [row for row in rows if not without_consent(row)]
    layout = FileSettings(files=(), columns=task.data.columns)
    mapping = Mapping("clickhouse", layout, task.data.clean.drop)
    read = Read()
    read.placed = [Placed(one, "", is_known(task.kind, one)) for one in mapping.examples(allowed)]
    _count(read, mapping, source)
    read.rows = read.sources[0]["rows"] = len(rows)
    read.dropped["consent"] += len(rows) - len(allowed)
    return read


def _read_files(task: Task) -> Read:
    read = Read()
    root = unpacked(task.path(task.data.archive)) if task.data.archive else None
    layouts = task.data.layouts()
    if not layouts:
        raise BadSettings(f"task {task.task}: data.files names no file")
    for layout in layouts:
        for name in layout.files:
            path = root / name if root else task.path(name)
            mapping = Mapping(name, layout, task.data.clean.drop)
            examples = mapping.examples(read_rows(path, layout))
            for one in examples:
                known = layout.part != "unlabelled" and is_known(task.kind, one)
                read.placed.append(Placed(one, layout.part, known))
            _count(read, mapping, {"name": name, "sha256": digest_of(path)})
    return read


def _count(read: Read, mapping: Mapping, source: dict[str, Any]) -> None:
    read.sources.append({**source, "rows": mapping.rows})
    read.rows += mapping.rows
    read.dropped.update(mapping.dropped)


def _divided(task: Task, cleaned: Cleaned) -> Corpus:
    known = [place for place, one in enumerate(cleaned.kept) if one.known]
    if not known:
        raise BadSettings(f"task {task.task}: no example is left that has what it learns from")
    examples = [cleaned.kept[place].example for place in known]
    together = [cleaned.together[place] for place in known]
    given = [cleaned.kept[place].part for place in known]
    divided = divide(examples, together, given, task.data, task.seed)
    cleaned.dropped.update(divided.dropped)
    parts: dict[str, list[Example]] = {"train": [], "valid": [], "test": []}
    held_out = set()
    for one, unit, part in zip(examples, together, divided.parts, strict=True):
        if part:
            parts[part].append(one)
        if part in ("valid", "test"):
            held_out.add(unit)
    unlabelled = []
    for each, unit in zip(cleaned.kept, cleaned.together, strict=True):
        if each.known:
            continue
        if unit in held_out:
            cleaned.dropped["also in a later part"] += 1
        else:
            unlabelled.append(each.example)
    _refuse_empty(task, parts)
    labels = labels_of(examples) if task.kind == "classify" else ()
    return Corpus(unlabelled=unlabelled, labels=labels, **parts)


def _refuse_empty(task: Task, parts: dict[str, list[Example]]) -> None:
    empty = [part for part, found in parts.items() if not found]
    if empty:
        raise BadSettings(
            f"task {task.task}: nothing is left for the {' and '.join(empty)} part; "
            "see data.valid_share and data.test_share"
        )
