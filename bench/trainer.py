"""`python -m bench trainer`: what the trainer's models reach, beside simpler ones and peers.

Each part is a process of its own with one thread, two parts side by side; parts that are timed run
alone afterwards. A part that fails leaves its keys null and its reason in `errors`. The last line
printed is one JSON object.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.datasets import find_data

KEYS = (
    *("retail", "triggered", "reference", "banking77", "search", "zh_reviews", "phrasebank"),
    *("mlm_tokens_s", "warm_start_week_s", "retrain_to_published_s", "compression"),
)
"""What the last line always has; null for what was not run or failed."""

PARTS = ("retail", "banking77", "zh", "search", "compression", "phrasebank")
TIMED = ("reference", "loop", "mlm")
"""Parts whose figures are times: nothing runs beside them."""

LONGEST_S = 1_800.0
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Asked:
    """What a part is run with."""

    data: Path
    quick: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--only", default=",".join((*PARTS, *TIMED)), help="parts, by commas")
    parser.add_argument("--data", type=Path, help="folder with the packs (*.tar.xz)")
    parser.add_argument("--quick", action="store_true", help="a small share of the data, to try")
    parser.add_argument("--side-by-side", type=int, default=2, help="parts at once, but for times")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Runs the parts and prints the object; 0 when each of them ended well."""
    asked = Asked(arguments.data or find_data(), arguments.quick)
    if arguments.part:
        found = measure(arguments.part, asked)
        arguments.into.write_text(json.dumps(found))
        return 0
    began = time.perf_counter()
    wanted = [part for part in arguments.only.split(",") if part]
    if unknown := set(wanted) - {*PARTS, *TIMED}:
        print(
            f"no such part: {', '.join(sorted(unknown))}; there are {', '.join((*PARTS, *TIMED))}"
        )
        return 2
    results: dict[str, Any] = dict.fromkeys(KEYS)
    errors: dict[str, str] = {}
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for parts, at_once in ((PARTS, arguments.side_by_side), (TIMED, 1)):
            chosen = [part for part in parts if part in wanted]
            with ThreadPoolExecutor(max(at_once, 1)) as pool:
                for done in pool.map(lambda part: _apart(part, asked, Path(folder)), chosen):
                    part, found, error, spent_s = done
                    _merge(results, found)
                    seconds[part] = round(spent_s, 1)
                    errors |= {part: error} if error else {}
    results |= {"errors": errors, "part_s": seconds}
    results["wall_s"] = round(time.perf_counter() - began, 1)
    print(json.dumps(results))
    return 1 if errors else 0


def measure(part: str, asked: Asked) -> dict[str, Any]:
    """One part, here: its keys of the final object."""
    module = importlib.import_module(f"bench.trainer_{part}")
    found: dict[str, Any] = module.measure(asked.data, asked.quick)
    return found


def _apart(part: str, asked: Asked, folder: Path) -> tuple[str, dict[str, Any], str, float]:
    """One part in a process of its own: name, keys, why it failed, seconds."""
    into, started = folder / f"{part}.json", time.perf_counter()
    threads = str(os.cpu_count() or 1) if part in ("mlm",) else "1"
    environ = {**os.environ, **dict.fromkeys(_THREADS, threads), "HF_HUB_OFFLINE": "1"}
    environ |= {"TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "bench", "trainer", "--part", part, "--into", str(into)]
    command += ["--data", str(asked.data)]
    if asked.quick:
        command.append("--quick")
    print(f"{part}: started", flush=True)
    error = ""
    try:
        done = subprocess.run(
            command, env=environ, timeout=LONGEST_S, text=True, capture_output=True, check=False
        )
        print(_indented(part, done.stdout), flush=True)
        if done.returncode:
            error = (done.stderr.strip().splitlines() or ["no message"])[-1]
    except subprocess.TimeoutExpired:
        error = f"not done in {LONGEST_S:.0f} s"
    found = json.loads(into.read_text()) if into.exists() and not error else {}
    spent_s = time.perf_counter() - started
    print(f"{part}: {error or 'done'} after {spent_s:.0f} s", flush=True)
    return part, found, error, spent_s


def _merge(results: dict[str, Any], found: dict[str, Any]) -> None:
    """Takes a part's keys in; rows of a table that several parts fill are joined."""
    for key, value in found.items():
        known = results.get(key)
        if isinstance(known, list) and isinstance(value, list):
            value = [*known, *value]
        results[key] = value


def _indented(part: str, text: str) -> str:
    return "\n".join(f"  [{part}] {line}" for line in text.strip().splitlines())
