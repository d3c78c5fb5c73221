"""What of a text task is searched, and the task with what a search or a former version found."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from trainer.task import Task
from trainer.tune.study import Parameters, Value

SEARCHED: Mapping[str, tuple[str, ...]] = {
    "finetune": ("learning_rate", "batch_rows", "epochs"),
    "pretrain": ("layers", "width"),
}
TUNED = "tuned"
"""The manifest's parameter that says that a search chose the others."""


def with_parameters(task: Task, found: Parameters) -> Task:
    """The task with these parameters."""
    change = msgspec.structs.replace
    schedule = change(
        task.finetune,
        learning_rate=float(found["learning_rate"]),
        batch_rows=int(found["batch_rows"]),
        epochs=float(found["epochs"]),
    )
    size = task.pretrain
    if "layers" in found:
        size = change(size, layers=int(found["layers"]), width=int(found["width"]))
    return change(task, finetune=schedule, pretrain=size)


def parameters_of(task: Task, sized: bool) -> Parameters:
    """The searched parameters of a task; sizes only where its encoder is trained here."""
    found: dict[str, float | int | str] = {
        "learning_rate": task.finetune.learning_rate,
        "batch_rows": task.finetune.batch_rows,
        "epochs": task.finetune.epochs,
    }
    if sized:
        found |= {"layers": task.pretrain.layers, "width": task.pretrain.width}
    return found


def as_champion(task: Task, manifest: Mapping[str, Value]) -> Task:
    """The task with the parameters of a champion that a search chose; else as its file says."""
    if not manifest.get(TUNED):
        return task
    found = dict(parameters_of(task, sized="pretrain.layers" in manifest))
    for section, names in SEARCHED.items():
        known = {name: manifest[key] for name in names if (key := f"{section}.{name}") in manifest}
        found |= {name: value for name, value in known.items() if name in found}
    return with_parameters(task, found)
