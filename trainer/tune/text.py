"""A text task's parameters searched: schedule, and the encoder's size where it is trained here.

Folds are later slices of the training part in order of time, or of a seeded draw where time has no
meaning. The test part is never touched, nor is the validation part.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import BadSettings
from trainer.corpus.examples import Corpus, Example
from trainer.finetune.model import TextModel
from trainer.finetune.stage import finetune
from trainer.pretrain.stage import pretrain
from trainer.task import Task
from trainer.tune.parameters import parameters_of, with_parameters
from trainer.tune.study import Budget, Knob, Parameters, Tuned, tune

STOPPED_BY = 0.15
"""Share of a fold's training rows, its newest, that early stopping goes by."""
SCHEDULE = (
    Knob(name="learning_rate", low=1e-6, high=1e-3, log=True),
    Knob(name="batch_rows", choices=(16, 32, 64)),
    Knob(name="epochs", low=1, high=6),
)
SIZES = (
    Knob(name="layers", low=1, high=6, whole=True),
    Knob(name="width", choices=(64, 128, 256)),
)


def tuned_task(task: Task, corpus: Corpus, encoder: Path, folder: Path, reason: str) -> Tuned:
    """The study over a task's parameters; `encoder` is the champion's, used unless sizes change.

    Raises:
        BadSettings: the kind of task cannot be tuned.
    """
    if task.kind not in ("classify", "regress"):
        raise BadSettings(f"{task.task}: tasks of kind {task.kind} are not tuned")
    sized = not task.pretrain.start and task.pretrain.objective != "none"
    knobs = (*SCHEDULE, *SIZES) if sized else SCHEDULE
    champion = parameters_of(task, sized)
    parts = folds_of(corpus, task.tune.folds, task.seed)

    def scores(parameters: Parameters) -> Iterator[NDArray[np.float64]]:
        trial = with_parameters(task, parameters)
        start = encoder
        if sized and _size(parameters) != _size(champion):
            start = folder / f"encoder-{_size(parameters)}"
            if not start.exists():
                pretrain(trial, _unheld(corpus, parts), start)
        for part in parts:
            work = folder / "trial"
            shutil.rmtree(work, ignore_errors=True)
            finetune(trial, part, start, work)
            yield row_scores(TextModel.load(work), part.test)

    budget = Budget(trials=task.tune.trials, within_s=task.tune.within_s)
    try:
        return tune(knobs, champion, scores, budget, task.seed, reason)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def folds_of(corpus: Corpus, folds: int, seed: int) -> list[Corpus]:
    """Corpora whose `test` is the next slice of the training part after what they train on."""
    rows = _ordered(corpus.train, seed)
    first = len(rows) // 2
    edges = np.linspace(first, len(rows), folds + 1).astype(int)
    found = []
    for begin, end in pairwise(edges.tolist()):
        stop = int(begin * (1 - STOPPED_BY))
        found.append(
            msgspec.structs.replace(
                corpus, train=rows[:stop], valid=rows[stop:begin], test=rows[begin:end]
            )
        )
    return found


def row_scores(model: TextModel, rows: Sequence[Example]) -> NDArray[np.float64]:
    """Log-probability of each row's label, or minus its squared error."""
    said = model.logits(rows).astype(np.float64)
    if not model.card.labels:
        truth = np.asarray([one.value or 0.0 for one in rows])
        error: NDArray[np.float64] = -((said[:, 0] - truth) ** 2)
        return error
    top = said.max(axis=1, keepdims=True)
    shares = said - top - np.log(np.exp(said - top).sum(axis=1, keepdims=True))
    found: NDArray[np.float64] = shares[
        np.arange(len(rows)), [model.card.labels.index(one.label) for one in rows]
    ]
    return found


def _ordered(rows: Sequence[Example], seed: int) -> list[Example]:
    if any(one.at_ms for one in rows):
        return sorted(rows, key=lambda one: (one.at_ms, one.example_id))
    return [rows[int(i)] for i in np.random.default_rng(seed).permutation(len(rows))]


def _unheld(corpus: Corpus, parts: Sequence[Corpus]) -> Corpus:
    """Only what no fold holds out may be pre-trained on."""
    return msgspec.structs.replace(corpus, train=[*parts[0].train, *parts[0].valid])


def _size(found: Parameters) -> str:
    return f"{found.get('layers')}x{found.get('width')}"
