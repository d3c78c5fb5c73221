"""`python -m bench SUBCOMMAND`: each subcommand is a module, imported only when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import sys

SUBCOMMANDS = {
    "delayed": ("bench.delayed", "learning early with importance weights, against waiting"),
    "drift": ("bench.drift", "how fast drifts are found, and how often in vain"),
    "floor": ("bench.floor", "what the loop earns on Online Retail, in process"),
    "serving": ("bench.serving", "how fast, fresh and safe to change serving is"),
    "stationary": ("bench.stationary", "drift retrains on Online Retail with its dates permuted"),
    "streams": ("bench.streams", "the streams' speed, exactness and delay, beside their peers'"),
    "trainer": ("bench.trainer", "what the models reach, beside simpler ones and peers"),
}
"""Name: (module with `add_arguments(parser)` and `run(arguments) -> int`, help line)."""


def main(argv: list[str]) -> int:
    """Runs one subcommand; without one, or with an unknown one, says which there are."""
    name = argv[0] if argv else ""
    if name not in SUBCOMMANDS:
        print("usage: python -m bench SUBCOMMAND [options]\n")
        for known, (_, text) in SUBCOMMANDS.items():
            print(f"  {known:<14}{text}")
        return 0 if name in ("-h", "--help") else 2
    module = importlib.import_module(SUBCOMMANDS[name][0])
    parser = argparse.ArgumentParser(prog=f"python -m bench {name}", description=module.__doc__)
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(argv[1:])))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
