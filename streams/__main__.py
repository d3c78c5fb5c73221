"""`python -m streams`: the worker, the `sink` into tables, and `notify`, which tells of alerts."""

import argparse
import os
import signal
import sys

from adapters import kafka, log
from core.settings import Settings, parse
from schemas.errors import BadSettings, Unavailable

STAGES = {"work": ("visitors", "tasks"), "visitors": ("visitors",), "tasks": ("tasks",)}


def main(arguments: list[str] | None = None) -> int:
    """Runs the process; 0 after a clean stop, 1 when something was out of reach, 2 for settings."""
    reader = argparse.ArgumentParser(
        prog="python -m streams",
        description="Validates, joins, measures and decides; settings come from SHOPLOOP_*.",
    )
    reader.add_argument(
        "what",
        nargs="?",
        default="work",
        choices=[*STAGES, "sink", "notify"],
        help="work: both stages (default); visitors: more of the first stage, to scale out; "
        "tasks: the second alone, in one process only; sink: copy every topic into tables; "
        "notify: post and mail alerts",
    )
    what = reader.parse_args(arguments).what
    try:
        settings = parse(os.environ)
        log.set_up(settings.log_level, what if what in ("sink", "notify") else "streams")
        return _run(settings, what)
    except BadSettings as error:
        print(error, file=sys.stderr)
        return 2
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 1


def _run(settings: Settings, what: str) -> int:
    if what == "sink":
        from streams import sink

        sink.run(settings)
        return 0
    if what == "notify":
        from streams import notify

        notify.run(settings)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # nothing to finish before it runs
    kafka.ensure_topics(settings)
    from streams.app import Worker

    return Worker(settings, STAGES[what]).run()


if __name__ == "__main__":
    sys.exit(main())
