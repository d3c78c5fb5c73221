"""`shoploop train TASK`: asks the decider for a retrain, or runs the stages of a text task here."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from adapters.home import home_of, tasks_of
from console.audit import audited
from console.orders import add_place, give, order_of, settings_here
from core.settings import Settings
from local.state import read_state
from schemas.errors import BadSettings

HELP = (
    "Ask the running loop for a new model version; the retrain policy answers on the topic "
    "`retrain`. With --stage, --from, --file or --publish, and where no loop runs, the stages of a "
    "text task run here instead: each is skipped when nothing it is made from has changed."
)
STAGES = ("corpus", "pretrain", "finetune", "judge", "compress", "publish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `train`."""
    parser.add_argument("task", nargs="?", help="the task to train (default: SHOPLOOP_TASK)")
    parser.add_argument("--reason", default="asked for by an operator", help="kept on record")
    parser.add_argument("--tune", action="store_true", help="search hyper-parameters first")
    parser.add_argument("--list", action="store_true", help="list the tasks that have a file")
    parser.add_argument("--file", type=Path, help="the task's file (default: SHOPLOOP_TASKS)")
    parser.add_argument("--stage", choices=STAGES, help="run this stage alone, here")
    parser.add_argument(
        "--from", choices=STAGES, dest="first", help="run this stage and all after it anew, here"
    )
    parser.add_argument(
        "--publish", action="store_true", help="train here and offer the version to the decider"
    )
    parser.add_argument(
        "--export-hf",
        type=Path,
        metavar="FOLDER",
        help="write the model that was trained here as a Hugging Face directory",
    )
    add_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the order, list the tasks, or train here."""
    settings = settings_here(arguments)
    console = Console(highlight=False)
    if arguments.list:
        return _list(settings, console)
    task = arguments.task or settings.task
    if _here(arguments, settings, task):
        return _foreground()(arguments, settings, task, console)
    with audited(settings, "train.retrain", task, arguments.reason):
        give(settings, order_of(task, "retrain", None, arguments.reason, tune=arguments.tune))
    console.print(f"asked for a retrain of {task}; see `shoploop models history --task {task}`")
    return 0


def _here(arguments: argparse.Namespace, settings: Settings, task: str) -> bool:
    """Whether a person asked for stages, or no loop runs that an order would reach."""
    asked = arguments.stage or arguments.first or arguments.file or arguments.publish
    asked = asked or arguments.export_hf
    if asked and arguments.stage and arguments.first:
        raise BadSettings("--stage runs one stage and --from all after one: give one of them")
    served = read_state(home_of(settings)) is not None
    return bool(asked) or (not served and (tasks_of(settings) / f"{task}.toml").is_file())


def _foreground() -> Callable[[argparse.Namespace, Settings, str, Console], int]:
    try:
        from console.train_here import train_here
    except ModuleNotFoundError as error:
        raise BadSettings(
            f"stages need {error.name}, which is not installed: install shoploop[trainer]"
        ) from error
    return train_here


def _list(settings: Settings, console: Console) -> int:
    from trainer.task_files import find_task, task_names

    names = task_names(settings)
    if not names:
        console.print(f"no task files in {tasks_of(settings)}")
    for name in names:
        console.print(f"{name}  {find_task(settings, name).kind}")
    return 0
