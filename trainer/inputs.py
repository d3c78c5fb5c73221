"""What a stage of a text task is made from, as one digest: settings, files and former stages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from trainer.run_dir import content_digest
from trainer.task import Task

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "corpus": ("data",),
    "pretrain": ("pretrain",),
    "tune": ("pretrain", "finetune", "tune"),
    "finetune": ("finetune", "search"),
    "judge": ("gate",),
    "compress": ("compress", "gate"),
    "publish": (),
}
NEEDS: Mapping[str, tuple[str, ...]] = {
    "corpus": (),
    "pretrain": ("corpus",),
    "tune": ("corpus", "pretrain"),
    "finetune": ("corpus", "pretrain"),
    "judge": ("corpus", "finetune"),
    "compress": ("corpus", "finetune"),
    "publish": ("corpus", "finetune", "judge", "compress"),
}


def stage_digest(task: Task, stage: str, former: Mapping[str, str], more: str = "") -> str:
    """The digest that changes with whatever the stage's result follows from.

    `former` holds the digests of the stages it needs; `more` what else it was told, such as the
    champion it is compared with.
    """
    sections = {name: getattr(task, name) for name in SECTIONS[stage]}
    said = {
        "stage": stage,
        "task": [task.task, task.kind, task.language, task.seed],
        "sections": msgspec.to_builtins(sections),
        "files": {name: content_digest(path) for name, path in _files(task, sections)},
        "former": {name: former[name] for name in NEEDS[stage]},
        "more": more,
    }
    return hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()


def _files(task: Task, sections: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """Every file or folder that a text of these sections names, patterns included."""
    for text in sorted(set(_texts(msgspec.to_builtins(sections)))):
        if "*" in text:
            yield from ((path.name, path) for path in sorted(Path(task.folder).glob(text)))
        elif _names_a_place(task, text):
            yield text, task.path(text)


def _names_a_place(task: Task, text: str) -> bool:
    try:
        return bool(text.strip(". ")) and task.path(text).exists()
    except (OSError, ValueError, RuntimeError):  # a query or a pattern is no path
        return False


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
