"""`shoploop train TASK`: asks the decider for a retrain."""

from __future__ import annotations

import argparse

from rich.console import Console

from console.orders import add_place, give, order_of, settings_here

HELP = "Ask for a new model version now; the retrain policy answers on the topic `retrain`."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `train`."""
    parser.add_argument("task", nargs="?", help="the task to train (default: SHOPLOOP_TASK)")
    parser.add_argument("--reason", default="asked for by an operator", help="kept on record")
    add_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the order."""
    settings = settings_here(arguments)
    task = arguments.task or settings.task
    give(settings, order_of(task, "retrain", None, arguments.reason))
    Console(highlight=False).print(f"asked for a retrain of {task}; see `shoploop models history`")
    return 0
