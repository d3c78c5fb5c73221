"""The same topics and the same work through other stream processors, each in its own environment.

Environments are made with uv in the user's cache folder, from the newest releases, and kept there.
What is set beyond a peer's defaults is printed and in the result.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import platformdirs

from bench.streams_ground import ROOT, Committed, Ground, process, wait_for
from bench.streams_speed import Sizes, committed_rate, say
from core.settings import Settings
from schemas import topics
from schemas.topics import Topic

FAUST_EVENTS = 60_000
PACKAGES = {
    "recommenders": ("implicit", "rectools"),
    "quix": ("quixstreams", "msgspec"),
    "bytewax": ("bytewax", "confluent-kafka", "msgspec"),
    "rectools": ("rectools[torch]",),
}
SET = {
    "faust": "one agent, raw bytes, polls of 2,000, buffer of 16,384, commits every 10,000 events",
    "quix": "exactly-once but for decode, commit every second, RocksDB state with changelog topics,"
    " join_interval over 24 h forward with 48 h grace",
    "bytewax": "one worker, batches of 2,000, epochs of a second, recovery to SQLite but for"
    " decode, stateful_batch; its Kafka sink is at-least-once",
}
KEYS = {"decode": "decode_count_ev_s", "keyed": "keyed_ev_s", "join": "join_ev_s"}


def faust_loop(
    ground: Ground, settings: Settings, count: int, sizes: Sizes
) -> tuple[float, dict[str, Any]]:
    """Events per second of a plain Faust agent, the median run, and how it was set."""
    expect = min(FAUST_EVENTS, count)
    runs = []
    for turn in range(sizes.repeats):
        name = f"faust{turn}"
        arguments = _arguments(ground, "faust", ("decode", name, settings, expect), sizes)
        said = _report(ground, name, arguments, sizes, sys.executable)
        runs.append(said["records"] / said["seconds"])
    runs.sort()
    say(f"faust's own loop: {[round(run) for run in runs]} ev/s ({SET['faust']})")
    return runs[len(runs) // 2], {"runs": [round(r) for r in runs], "settings": SET["faust"]}


def peer(
    ground: Ground, name: str, places: dict[str, tuple[Settings, int]], sizes: Sizes
) -> dict[str, Any]:
    """The three rates of one peer; a rate it could not give is null, with the reason in `errors`.

    Args:
        ground: where to run.
        name: quix or bytewax.
        places: for decode, keyed and join: where the topics are, and how many records.
        sizes: how long a run may take.
    """
    found: dict[str, Any] = dict.fromkeys(KEYS.values())
    try:
        program = environment(name)
    except (OSError, subprocess.SubprocessError) as error:
        return {**found, "error": _reason(error)}
    found |= {"settings": SET[name], "versions": _versions(program, PACKAGES[name])}
    say(f"{name}: {found['versions']}; {SET[name]}")
    for what, (settings, count) in places.items():
        try:
            run = _measure(ground, program, (name, what, settings, count), sizes)
        except (RuntimeError, OSError) as error:
            found.setdefault("errors", {})[what] = _reason(error)
            say(f"{name} {what} failed: {_reason(error)}")
            continue
        found[KEYS[what]] = round(run["rate"])
        found.setdefault("complete", {})[what] = run["complete"]
        say(f"{name} {what}: {run['rate']:,.0f} ev/s{'' if run['complete'] else ', cut short'}")
    return found


def environment(name: str) -> Path:
    """The Python of a peer's own environment, made at the first call.

    Raises:
        OSError: there is no uv.
        subprocess.SubprocessError: the packages could not be installed.
    """
    folder = Path(platformdirs.user_cache_dir("shoploop")) / "bench" / name
    program = folder / "bin" / "python"
    done = folder / "installed"
    if done.exists():
        return program
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        raise FileNotFoundError("uv is not installed: it makes the peers' environments")
    shutil.rmtree(folder, ignore_errors=True)
    commands = [
        [uv, "venv", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--python", str(program), *PACKAGES[name]],
    ]
    for command in commands:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    done.touch()
    return program


def _versions(program: Path, packages: tuple[str, ...]) -> dict[str, str]:
    code = (
        "import json, sys; from importlib.metadata import version as v; "
        "print(json.dumps({p: v(p) for p in sys.argv[1:]}))"
    )
    done = subprocess.run(
        [str(program), "-c", code, *packages], check=True, capture_output=True, text=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _measure(
    ground: Ground, program: Path, what: tuple[str, str, Settings, int], sizes: Sizes
) -> dict[str, Any]:
    name, part, settings, count = what
    run = f"{name}.{part}"
    arguments = _arguments(ground, name, (part, run, settings, count), sizes)
    if part == "join":
        out = Topic(name="out", key="visitor_id", record=None, partitions=topics.VISITOR_PARTITIONS)
        _make_output(ground, run, out)
    if name == "quix" and part != "decode":
        return _by_commits(ground, program, (run, part, settings), (arguments, sizes))
    said = _report(ground, run, arguments, sizes, str(program))
    return {"rate": said["records"] / said["seconds"], "complete": said["complete"]}


def _make_output(ground: Ground, run: str, out: Topic) -> None:
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient({"bootstrap.servers": ground.kafka})
    for made in admin.create_topics([NewTopic(f"{run}.out", out.partitions)]).values():
        made.result(15)


def _by_commits(
    ground: Ground,
    program: Path,
    what: tuple[str, str, Settings],
    how: tuple[list[str], Sizes],
) -> dict[str, Any]:
    run, part, settings = what
    arguments, sizes = how
    inputs = (topics.EVENTS,) if part == "keyed" else (topics.EVENTS, topics.PREDICTIONS)
    names = {t.full_name(settings.topic_prefix): t.partitions for t in inputs}
    log = ground.folder / f"{run}.log"
    with process(arguments, _environ(), log, str(program)) as child:
        group = Committed(ground.kafka, run, names)
        kept = committed_rate(
            group.total, group.wanted(), lambda: child.poll() is None, sizes.within_s
        )
        group.close()
    if not kept["rate"]:
        raise RuntimeError(_tail(log))
    return kept


def _report(
    ground: Ground, run: str, arguments: list[str], sizes: Sizes, program: str
) -> dict[str, Any]:
    report = ground.folder / run / "report.json"
    log = ground.folder / f"{run}.log"
    with process(arguments, _environ(), log, program) as child:
        if not wait_for(report.exists, child, sizes.within_s + 60):
            raise RuntimeError(_tail(log))
    said: dict[str, Any] = json.loads(report.read_text())
    return said


def _arguments(
    ground: Ground, name: str, what: tuple[str, str, Settings, int], sizes: Sizes
) -> list[str]:
    part, run, settings, count = what
    folder = ground.folder / run
    folder.mkdir(parents=True, exist_ok=True)
    return [
        *("-m", f"bench.peers.with_{name}", part),
        *("--kafka", settings.kafka, "--prefix", settings.topic_prefix, "--name", run),
        *("--expect", str(count), "--within-s", str(sizes.within_s), "--folder", str(folder)),
    ]


def _environ() -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("SHOPLOOP_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()[-5:]
    return " | ".join(lines)[-600:] or "it said nothing"


def _reason(error: Exception) -> str:
    said = getattr(error, "stderr", None) or str(error)
    return " ".join(str(said).split())[-600:]
