"""`python -m trainer` answers accepted retrains with signed model versions."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from adapters.signals import leave_at_once, leave_in_peace

if __name__ == "__main__":
    leave_at_once()  # before the other imports: they take a while

import msgspec

from adapters.log import set_up
from core.settings import Settings, parse
from schemas.errors import BadSettings, Unavailable

# Under a shared machine torch's threads must not spin while they wait for each other.
_WAIT_POLICY = "OMP_WAIT_POLICY"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until a signal; 0 after a clean stop, 1 when the world failed, 2 for bad settings."""
    options = _parser().parse_args(arguments)
    try:
        settings = _settings(options)
        set_up(settings.log_level, "trainer")
        _run(settings, show_bar=options.progress)
    except BadSettings as error:
        print(error, file=sys.stderr)
        return 2
    except Unavailable as error:
        logging.getLogger("trainer").error("stopped: %s", error)
        return 1
    return 0


def _run(settings: Settings, *, show_bar: bool | None) -> None:
    os.environ.setdefault(_WAIT_POLICY, "PASSIVE")
    # Imported here: torch reads the wait policy when it is loaded, and `--help` needs no Kafka.
    from trainer.app import Trainer

    Trainer(settings, show_bar=show_bar).run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer", description=__doc__)
    parser.add_argument("--port", type=int, default=None, help="HTTP port, 0 for none")
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="show a progress bar (default: on a terminal)",
    )
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    settings = parse(os.environ)
    port = settings.http_port if options.port is None else options.port
    if not 0 <= port <= 65_535:
        raise BadSettings(f"--port {port}: expected 0 to 65535")
    return msgspec.structs.replace(settings, name=settings.name or "trainer", http_port=port)


if __name__ == "__main__":
    status = main()
    leave_in_peace()
    sys.exit(status)
