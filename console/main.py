"""The `shoploop` command: a table of subcommands, each in a file of its own.

A subcommand's file is imported only when it is asked for, so that what one of them needs never
stops another. Each has `HELP`, `add_arguments(parser)` and `run(arguments) -> exit status`.
Exit status: 0 done, 1 something outside did not answer, 2 a setting or an argument is wrong.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, cast

from local.exits import run_main
from schemas.errors import BadSettings

# One line of help each stands here too: listing the commands imports none of them.
COMMANDS: dict[str, str] = {
    "up": "run everything on this machine until Ctrl-C",
    "down": "stop what `up` runs",
    "status": "show processes, consumer lag, live models and the newest metric",
    "query": "ask ClickHouse",
    "demo": "run the loop on a real shop's orders",
    "replay": "run a stored log through the loop",
    "models": "show, promote, roll back or pin model versions",
    "alerts": "show open and past alerts",
    "train": "train a model version now",
    "drill": "put drift into a copy of live traffic and see what notices it",
    "dlq": "show refused records, or send them again",
    "keys": "make, show, renew or end API keys",
}


class Command(Protocol):
    """What a subcommand's file offers."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the subcommand's arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; the exit status."""


def load(name: str) -> Command:
    """The subcommand of this name.

    Raises:
        BadSettings: a package it needs is not installed; the text names it.
    """
    try:
        return cast(Command, import_module(f"console.{name}"))
    except ModuleNotFoundError as error:
        missing = error.name or "a package"
        raise BadSettings(
            f"`shoploop {name}` needs {missing}, which is not installed: "
            "install shoploop with the extra that has it (local, streams, serving, trainer)"
        ) from error


def available() -> dict[str, str]:
    """The subcommands whose file is there, with their line of help."""
    return {name: text for name, text in COMMANDS.items() if find_spec(f"console.{name}")}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    return run_main(lambda: _main(sys.argv[1:] if arguments is None else list(arguments)))


def _main(arguments: list[str]) -> int:
    # Its clients log what they also raise; here the one line of the error is enough.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    names = available()
    listed = "\n".join(f"  {name:8} {text}" for name, text in names.items())
    top = argparse.ArgumentParser(
        prog="shoploop",
        usage="shoploop COMMAND [ARGUMENTS]",
        description="A feedback loop for e-commerce search and recommendation.",
        epilog=f"commands:\n{listed}\n\n`shoploop COMMAND --help` tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("command", choices=list(names), metavar="COMMAND", help=argparse.SUPPRESS)
    chosen = top.parse_args(arguments[:1] or ["--help"])
    command = load(chosen.command)
    parser = argparse.ArgumentParser(prog=f"shoploop {chosen.command}", description=command.HELP)
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments[1:]))


if __name__ == "__main__":
    raise SystemExit(main())
