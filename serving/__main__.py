"""`python -m serving` answers requests; `python -m serving shadow` scores the other policies."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from adapters.signals import leave_at_once, leave_in_peace

if __name__ == "__main__":
    leave_at_once()  # before the other imports: they take a while

import msgspec

from adapters.garbage import collect_seldom
from adapters.log import set_up
from core.settings import Settings, parse
from schemas.errors import BadSettings, Unavailable
from serving.guard import Guard

SHADOW = "shadow"
DEFAULT_NAME = "serving-1"
DEFAULT_PORT = 18080


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until a signal; 0 after a clean stop, 1 when the world failed, 2 for bad settings."""
    options = _parser().parse_args(arguments)
    try:
        settings = _settings(options)
        set_up(settings.log_level, settings.name)
        _run(settings, is_shadow=options.command == "shadow")
    except BadSettings as error:
        print(error, file=sys.stderr)
        return 2
    except Unavailable as error:
        logging.getLogger("serving").error("stopped: %s", error)
        return 1
    return 0


def _run(settings: Settings, *, is_shadow: bool) -> None:
    # Matrices here are small: a second BLAS thread only spins. It must be said before numpy loads.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from serving.app import run_replica, run_shadow

    collect_seldom()
    guard = Guard()
    if is_shadow:
        run_shadow(settings, guard)
    else:
        run_replica(settings, guard)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="{shadow}")
    shadow = commands.add_parser("shadow", help="score the other policies on served answers")
    parser.add_argument("--name", help=f"stable name of this replica (default {DEFAULT_NAME})")
    for each in (parser, shadow):
        each.add_argument("--port", type=int, help="HTTP port, 0 for none", default=None)
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    settings = parse(os.environ)
    if options.command == "shadow":
        name, port = SHADOW, settings.http_port
    else:
        name = options.name or settings.name or DEFAULT_NAME
        port = settings.http_port or DEFAULT_PORT
    if options.port is not None:
        port = options.port
    if not 0 <= port <= 65_535:
        raise BadSettings(f"--port {port}: expected 0 to 65535")
    return msgspec.structs.replace(settings, name=name, http_port=port)


if __name__ == "__main__":
    status = main()
    leave_in_peace()
    sys.exit(status)
