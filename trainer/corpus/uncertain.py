"""Active learning: the most informative unlabelled texts go to people, and come back as labels."""

from __future__ import annotations

import csv
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.text_choice import entropy, k_center, margin
from schemas.errors import BadSettings
from trainer.corpus.clean import Placed, key_of
from trainer.corpus.examples import Corpus, Example
from trainer.corpus.files import read_rows
from trainer.corpus.mapping import number_of
from trainer.corpus.settings import FileSettings
from trainer.task import Kind, Task

PERSON = "person"
POOL = 10
"""Of so many times the wanted count, the least sure, the most different are chosen."""
_WIDTH = 512
_COLUMNS = ("example_id", "text", "pair", "label", "suggestion", "chance")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
Answers = dict[str, str]


def export_uncertain(
    task: Task,
    corpus: Corpus,
    chances: NDArray[Any],
    count: int,
    folder: Path,
    by: Literal["entropy", "margin"] = "entropy",
) -> Path:
    """Writes `TASK_to_label.csv` with an empty column `label` for people to fill; where it is.

    Args:
        task: whose data section may name the filled file in `answers`.
        corpus: whose unlabelled part is chosen from.
        chances: a model's chances of each label, a row per unlabelled example; or one column that
            says how unsure it is.
        count: how many at most.
        folder: where to write.
        by: what unsure means where there are chances.
    """
    rows = np.asarray(chances, dtype=np.float64).reshape(len(corpus.unlabelled), -1)
    if rows.shape[1] > 1:
        unsure = entropy(rows) if by == "entropy" else margin(rows)
    else:
        unsure = rows[:, 0]
    chosen = _choose(corpus.unlabelled, unsure, count)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{task.task}_to_label.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:  # spreadsheets want the mark
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(_line(corpus, rows, place) for place in chosen)
    return path


def read_back(path: Path) -> Answers:
    """What people answered, by example id; lines without an answer are left out.

    Raises:
        BadSettings: the file lacks a column or names an example twice with different answers.
    """
    found: Answers = {}
    layout = FileSettings(files=(path.name,), format="csv")
    for row in read_rows(path, layout):
        if "example_id" not in row or "label" not in row:
            raise BadSettings(f"{path}: needs the columns example_id and label")
        name, label = row["example_id"].strip(), row["label"].strip()
        if not label:
            continue
        if found.setdefault(name, label) != label:
            raise BadSettings(f"{path}: {name!r} has two answers, {found[name]!r} and {label!r}")
    return found


def with_answers(
    placed: Sequence[Placed], files: Sequence[Answers], kind: Kind
) -> tuple[list[Placed], Counter[str]]:
    """The examples with people's answers as labels, and how many answers were not used, by reason.

    What several people answered differently stays unlabelled. An answer counts in whatever part its
    example is but the test and validation sets of the source.

    Raises:
        BadSettings: an answer is not a number, or a label that no labelled example has.
    """
    answers, unused = _merged(files)
    labels = {one.example.label for one in placed if one.known}
    found, used = [], set()
    for one in placed:
        name = one.example.example_id
        if name not in answers or one.fixed:
            found.append(one)
            continue
        used.add(name)
        found.append(Placed(_answered(one.example, answers[name], kind, labels), "", True))
    unused["answer without example"] += len(answers) - len(used)
    return found, unused


def _merged(files: Sequence[Answers]) -> tuple[Mapping[str, str], Counter[str]]:
    said: dict[str, set[str]] = {}
    for answers in files:
        for name, label in answers.items():
            said.setdefault(name, set()).add(label)
    agreed = {name: min(labels) for name, labels in said.items() if len(labels) == 1}
    return agreed, Counter({"answers disagree": len(said) - len(agreed)})


def _answered(one: Example, answer: str, kind: Kind, labels: set[str]) -> Example:
    if kind == "classify":
        if labels and answer not in labels:
            raise BadSettings(f"answer {answer!r} of {one.example_id!r} is no label of this task")
        return msgspec.structs.replace(one, label=answer, origin=PERSON)
    value = number_of(answer)
    if value is None:
        raise BadSettings(f"answer {answer!r} of {one.example_id!r} is not a number")
    return msgspec.structs.replace(one, value=value, origin=PERSON)


def _choose(examples: Sequence[Example], unsure: NDArray[np.float64], count: int) -> list[int]:
    if not len(examples) or count < 1:
        return []
    pool = np.argsort(-unsure, kind="stable")[: POOL * count]
    vectors = _vectors([key_of(examples[place]) for place in pool])
    return [int(pool[place]) for place in k_center(vectors, count)]


def _vectors(texts: Sequence[str]) -> NDArray[np.float64]:
    """Hashed counts of three-character runs, each text at length one."""
    found = np.zeros((len(texts), _WIDTH))
    for row, text in enumerate(texts):
        raw = f" {text} "
        for start in range(len(raw) - 2):
            run = raw[start : start + 3].encode("utf-8", "surrogatepass")
            found[row, zlib.crc32(run) % _WIDTH] += 1
    length = np.linalg.norm(found, axis=1, keepdims=True)
    vectors: NDArray[np.float64] = found / np.maximum(length, 1.0)
    return vectors


def _line(corpus: Corpus, rows: NDArray[np.float64], place: int) -> list[str]:
    one, chances = corpus.unlabelled[place], rows[place]
    best = int(np.argmax(chances))
    suggestion = corpus.labels[best] if len(chances) == len(corpus.labels) else ""
    texts = [_harmless(text) for text in (one.text, one.pair)]
    return [one.example_id, *texts, "", suggestion, f"{chances[best]:.4f}"]


def _harmless(text: str) -> str:
    """Spreadsheets run a cell that begins like a formula; the text is never read back."""
    return f"'{text}" if text.startswith(_FORMULA) else text
