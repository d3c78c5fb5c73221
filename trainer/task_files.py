"""Task files by name: `<SHOPLOOP_TASKS>/NAME.toml`, each the whole configuration of a task."""

from __future__ import annotations

from pathlib import Path

from adapters.home import tasks_of
from core.settings import Settings
from schemas.errors import BadSettings
from trainer.task import Task, read_task


def task_names(settings: Settings) -> list[str]:
    """Names of the tasks that have a file, sorted."""
    return sorted(path.stem for path in tasks_of(settings).glob("*.toml"))


def find_task(settings: Settings, name: str, file: Path | None = None) -> Task:
    """The task of this name, from a file that is named or from the folder of tasks.

    Raises:
        BadSettings: there is no such file, it is not understood, or it is another task's.
    """
    path = file or tasks_of(settings) / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(task_names(settings)) or "none"
        raise BadSettings(f"no task file {path} (SHOPLOOP_TASKS; tasks there: {known})")
    task = read_task(path)
    if task.task != name:
        raise BadSettings(f"{path}: `task` is {task.task}, not {name}")
    return task
