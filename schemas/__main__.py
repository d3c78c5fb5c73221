"""Writes the goldens, or checks them: `python -m schemas [--check]`."""

import argparse
import sys
from pathlib import Path

from schemas.published import golden_documents

GOLDENS = Path(__file__).parent / "goldens"


def main() -> int:
    """Writes or compares every published file; exit 1 names the files that differ."""
    parser = argparse.ArgumentParser(prog="python -m schemas", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    documents = golden_documents()
    if arguments.check:
        return _check(documents)
    for name, text in documents.items():
        (GOLDENS / name).write_text(text)
    return 0


def _check(documents: dict[str, str]) -> int:
    stored = {path.name: path.read_text() for path in GOLDENS.iterdir()}
    differing = sorted(
        name for name in stored.keys() | documents.keys() if stored.get(name) != documents.get(name)
    )
    for name in differing:
        print(f"schemas/goldens/{name} is not what the structs say: run `make schemas`")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
