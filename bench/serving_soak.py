"""A long load at a share of capacity, then one over kills: memory, errors, and every record.

Every 200 that the load generator got, in both loads, must have exactly one record on `predictions`,
read with committed transactions only, once what a restart still had to send has come. `errors` are
the first load's: while the only process is killed and starts again, calls cannot but fail, and are
told by status in `statuses_over_kills`.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.serving_world import Server, World, run_load, serving
from bench.streams_ground import read_all
from local.child import free_ports
from schemas import topics

SHARE = 0.8
CONNECTIONS = 16
SETTLED_WITHIN_S = 60.0
_SAMPLE_S = 5.0


class _Answer(msgspec.Struct):
    """What of a record is counted."""

    kind: str = ""
    prediction_id: str = ""
    policy: str = ""


_ANSWER = msgspec.json.Decoder(_Answer)


def soak(shop: World, seconds: float, kills: int, kills_s: float = 60.0) -> dict[str, Any]:
    """Both loads on a server of their own; the object that the issue names."""
    note = shop.ground.folder / "noted.txt"
    with serving(shop, "soak-1") as server:
        capacity = _capacity(shop, server)
        steady = _steady(shop, server, seconds, SHARE * capacity, note)
    killed = _killed(shop, kills, kills_s, SHARE * capacity, note)
    unlogged, twice = _accounted(shop, note)
    loads = (steady["load"], killed["load"])
    errors = sum(n for status, n in steady["load"]["statuses"].items() if status != "200")
    return {
        "seconds": seconds,
        "errors": errors,
        "unlogged": unlogged,
        "logged_twice": twice,
        "rss_growth_mb": steady["rss_growth_mb"],
        "kills": killed["kills"],
        "capacity_rps": capacity,
        "rate": round(SHARE * capacity, 1),
        "answers": sum(each["statuses"].get("200", 0) for each in loads),
        "statuses": steady["load"]["statuses"],
        "statuses_over_kills": killed["load"]["statuses"],
        "p50_ms": steady["load"]["p50_ms"],
        "p99_ms": steady["load"]["p99_ms"],
        "rss_mb": steady["rss_mb"],
        "degraded": dict(sum((Counter(each["degraded"]) for each in loads), Counter())),
    }


def _capacity(shop: World, server: Server) -> float:
    asked = {"connections": CONNECTIONS, "n": 1_000_000, "seconds": 10.0, "warm_up": 1_000}
    return float(run_load({**_at(shop, server.port), **asked, "seed": 11})["rps"])


def _steady(shop: World, server: Server, seconds: float, rate: float, note: Path) -> dict[str, Any]:
    """The load without kills; growth is the last fifth's median over that of the second fifth."""
    sizes: list[float] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(min(_SAMPLE_S, seconds / 25)):
            sizes.append(server.rss_mb())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    asked = {"connections": 64, "rate": rate, "seconds": seconds, "note": str(note), "seed": 12}
    load = run_load({**_at(shop, server.port), **asked}, within_s=seconds + 120)
    done.set()
    watcher.join()
    fifth = max(len(sizes) // 5, 1)
    early, late = np.median(sizes[fifth : 2 * fifth] or sizes), np.median(sizes[-fifth:])
    return {
        "load": load,
        "rss_growth_mb": round(float(late - early), 1),
        "rss_mb": [round(size) for size in sizes[:: max(len(sizes) // 10, 1)]],
    }


def _killed(
    shop: World, kills: int, seconds: float, rate: float, note: Path, seed: int = 5
) -> dict[str, Any]:
    """The load while one process, always of the same name, is killed and started again."""
    (port,) = free_ports(1)
    drawn = random.Random(seed)
    asked = {"connections": 64, "rate": rate, "seconds": seconds, "note": str(note), "seed": 13}
    found: dict[str, Any] = {}
    failed: list[BaseException] = []

    def load() -> None:
        try:
            found.update(run_load({**_at(shop, port), **asked, "patient": True}, seconds + 120))
        except BaseException as error:  # noqa: BLE001 - raised again below
            failed.append(error)

    worker = threading.Thread(target=load, daemon=True)
    count = 0
    for life in range(kills + 1):
        with serving(shop, "soak-1", port=port) as server:
            if life == 0:
                worker.start()
            if life < kills:
                time.sleep(drawn.uniform(0.3, 0.8) * seconds / (kills + 1))
                server.child.kill()
                server.child.wait()
                count += 1
            else:
                worker.join()
    if failed:
        raise failed[0]
    return {"load": found, "kills": count}


def _accounted(shop: World, note: Path) -> tuple[int, int]:
    """How many noted answers have no record, and how many more than one."""
    wanted = {line.split()[1] for line in note.read_text().splitlines()}
    deadline = time.monotonic() + SETTLED_WITHIN_S
    # Whatever the last life left in its spool is sent by the next one.
    with serving(shop, "soak-1"):
        while True:
            counts = _records(shop)
            unlogged = sum(1 for each in wanted if not counts[each])
            if not unlogged or time.monotonic() > deadline:
                break
            time.sleep(1.0)
    return unlogged, sum(1 for each in wanted if counts[each] > 1)


def _records(shop: World) -> Counter[str]:
    found: Counter[str] = Counter()
    for message in read_all(shop.settings, topics.PREDICTIONS):
        record = _ANSWER.decode(message.value() or b"{}")
        if record.kind == "prediction" and record.policy == "loop":
            found[record.prediction_id] += 1
    return found


def _at(shop: World, port: int) -> dict[str, Any]:
    return {"port": port, "visitors": len(shop.visitors), "items": len(shop.item_ids)}
