"""What swaps of real versions cost: answers while they happen, and how soon all processes obey.

`swaps` asks one serving process for lists at a steady rate while its champion is replaced again and
again by a version that it has to read, verify and load anew. `publish_to_swap` times from the
announcement of a version to the last of four processes that answers with it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from adapters.artefacts import ArtefactStore
from adapters.home import artefacts_url, home_of
from adapters.kafka import Follower
from adapters.signing import load_or_create, sign
from bench.serving_version import TASK
from bench.serving_world import Server, World, run_load, serving, world
from bench.streams_ground import ground
from core.model_version import MANIFEST, RANKER, SIGNATURE, VOCABULARY, digest, identified, sha256
from core.version_memory import memory_bytes
from schemas import topics
from schemas.codec import encode
from schemas.models import Manifest, ModelLog
from schemas.predictions import Prediction, PredictionRecord

ITEMS, VISITORS = 100_000, 2_000
DIFFERENT = 4
BETWEEN_S = 2.0
BEFORE_S, WARM_UP_S = 16.0, 4.0
OBEYED_WITHIN_S = 120.0
PROCESSES = 4
_decode = msgspec.json.Decoder(PredictionRecord).decode


@dataclass
class Log:
    """What processes say on `model_log`, with when each was heard."""

    entries: list[ModelLog] = field(default_factory=list)

    def swapped(self, version: str, since: int) -> list[ModelLog]:
        """Swaps to a version among the entries from a place on."""
        return [
            entry
            for entry in list(self.entries)[since:]
            if entry.kind == "swapped" and entry.model_version == version
        ]

    def wait(self, version: str, since: int, processes: int) -> list[ModelLog]:
        """The swaps of so many processes to a version."""
        deadline = time.monotonic() + OBEYED_WITHIN_S
        while len(found := self.swapped(version, since)) < processes:
            if time.monotonic() > deadline:
                said = [(e.kind, e.model_version, e.reason) for e in self.entries[since:]]
                raise RuntimeError(f"{version}: not in use after {OBEYED_WITHIN_S:.0f} s: {said}")
            time.sleep(0.002)
        return found


@contextmanager
def listening(shop: World) -> Iterator[Log]:
    """Reads `model_log` in a thread until the block ends."""
    log, ended, read = Log(), threading.Event(), threading.Event()
    follower = Follower(shop.settings, [topics.MODEL_LOG])
    decode = msgspec.json.Decoder(ModelLog).decode

    def run() -> None:
        while not ended.is_set():
            for _, message in follower.poll(0.05):
                log.entries.append(decode(message.value() or b""))
            if follower.caught_up:
                read.set()
        follower.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    read.wait(OBEYED_WITHIN_S)
    try:
        yield log
    finally:
        ended.set()
        thread.join(timeout=5)


def varied(shop: World, number: int) -> str:
    """A version of its own with the first one's network, signed anew.

    It has other ranker weights, and the items in another order. What it costs to load is the same,
    and making it takes a fraction of an export.
    """
    settings, base = shop.settings, shop.versions.names[0]
    store, key = ArtefactStore(artefacts_url(settings)), load_or_create(home_of(settings))
    manifest = msgspec.json.decode(store.get(TASK, base, MANIFEST), type=Manifest)
    files = {entry.path: store.get(TASK, base, entry.path) for entry in manifest.files}
    ranker = msgspec.json.decode(files[RANKER])
    for weights in ranker.values():
        weights["coef"] = [value + 1e-3 * number for value in weights["coef"]]
        weights["version"] = f"shipped-{number}"
    files[RANKER] = encode(ranker)
    files[VOCABULARY] = encode([*shop.item_ids[number:], *shop.item_ids[:number]])
    listed = [digest(path, data) for path, data in sorted(files.items())]
    fresh = identified(msgspec.structs.replace(manifest, seed=number, files=listed))
    data = encode(fresh)
    store.put(TASK, fresh.version, {**files, MANIFEST: data, SIGNATURE: sign(key, data)})
    shop.versions.names.append(fresh.version)
    shop.versions.digests[fresh.version] = sha256(data)
    return fresh.version


def swaps(shop: World, n: int = 20, rate: float = 150.0) -> dict[str, Any]:
    """`n` swaps while lists are asked for at a rate; latencies in milliseconds.

    `failed` counts replies that are not 200, `mixed` answers whose ranker weights are not those of
    their model version; a request is during a swap when any of it was between the announcement and
    the swap.
    """
    names = [shop.versions.names[0], *(varied(shop, k) for k in range(100, 99 + DIFFERENT))]
    weights = {names[0]: "shipped-1"}
    weights |= {name: f"shipped-{100 + place}" for place, name in enumerate(names[1:])}
    note = shop.ground.folder / "note.txt"
    load = {"path": "/v1/recommend", "connections": 8, "rate": rate, "note": str(note), "seed": 11}
    shop.point(names[0])
    with serving(shop, extra=room_for_two(shop)) as server, listening(shop) as log:
        turns = [names[turn % len(names)] for turn in range(1, n + 1)]
        found = swapped_under(shop, server, log, load, turns)
        rss_mb = server.rss_mb()
    answered = {line.split()[0] for line in note.read_text().splitlines()}
    result = {
        "n": n,
        "mixed": _mixed(shop, weights, answered),
        **found,
        "rps": rate,
        "rss_mb": round(rss_mb),
        "items": len(shop.item_ids),
    }
    return {"swaps": result}


def swapped_under(
    shop: World,
    server: Server,
    log: Log,
    load: dict[str, Any],
    names: Sequence[str],
    between_s: float = BETWEEN_S,
) -> dict[str, Any]:
    """Swaps to these versions, so long one after the other, under a load; failures, latencies."""
    trail = shop.ground.folder / "trail.txt"
    asked: dict[str, Any] = {
        "port": server.port,
        "visitors": len(shop.visitors),
        "items": len(shop.item_ids),
    }
    asked |= {"seconds": BEFORE_S + len(names) * between_s + 2.0, "trail": str(trail)}
    found: dict[str, Any] = {}
    thread = threading.Thread(target=lambda: found.update(run_load({**asked, **load})))
    thread.start()
    time.sleep(BEFORE_S)
    spans = [_swap(shop, log, name, between_s) for name in names]
    thread.join()
    return {
        "failed": sum(k for status, k in found["statuses"].items() if status != "200"),
        **_latencies(np.loadtxt(trail), spans),
        "requests": found["n"],
    }


def _latencies(replies: Any, spans: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Milliseconds of replies before the first swap and during swaps.

    Args:
        replies: Unix time in seconds when each had come, and its latency, shape (replies, 2).
        spans: Unix seconds of each announcement and its swap.
    """
    came_s, took_s = replies[:, 0], replies[:, 1]
    before = took_s[(came_s > came_s[0] + WARM_UP_S) & (came_s < spans[0][0])]
    during = took_s[_during(replies, spans)]
    p99_before_ms, p99_during_ms = (float(np.percentile(v, 99)) * 1e3 for v in (before, during))
    return {
        "p99_ratio": round(p99_during_ms / p99_before_ms, 2),
        "p99_before_ms": round(p99_before_ms, 2),
        "p99_during_ms": round(p99_during_ms, 2),
        "max_during_ms": round(float(during.max()) * 1e3, 1),
        "requests_before": len(before),
        "requests_during": len(during),
        "announce_to_swap_ms": round(float(np.mean([b - a for a, b in spans])) * 1e3, 1),
    }


def publish_to_swap(shop: World, n: int = 8) -> dict[str, Any]:
    """Milliseconds from a version's announcement until all of four processes answer with it."""
    names = [shop.versions.names[0], *(varied(shop, k) for k in range(200, 199 + DIFFERENT))]
    memory = room_for_two(shop)
    shop.point(names[0])
    all_ms: list[float] = []
    each_ms: list[float] = []
    with ExitStack() as stack:
        started = [
            stack.enter_context(_serving_soon(shop, f"serving-{number}", memory))
            for number in range(1, PROCESSES + 1)
        ]
        for server in started:
            server.wait_ready()
        log = stack.enter_context(listening(shop))
        for turn in range(1, n + 1):
            since, name = len(log.entries), names[turn % len(names)]
            shop.point(name)
            took = [entry.announce_to_swap_ms or 0.0 for entry in log.wait(name, since, PROCESSES)]
            all_ms.append(max(took))
            each_ms.extend(took)
            time.sleep(0.3)
    return {
        "publish_to_swap_ms_p50": round(float(np.percentile(all_ms, 50)), 1),
        "publish_to_swap_ms_p99": round(float(np.percentile(all_ms, 99)), 1),
        "publish_to_swap_ms_one_p50": round(float(np.percentile(each_ms, 50)), 1),
        "publishes": n,
        "processes": PROCESSES,
        "items": len(shop.item_ids),
    }


@contextmanager
def _serving_soon(shop: World, name: str, extra: dict[str, str]) -> Iterator[Any]:
    """A serving process that is waited for here: four at once would hold up one another."""
    with serving(shop, name, extra) as server:
        yield server


def room_for_two(shop: World) -> dict[str, str]:
    """Memory for the champion and the next one: a third has to be loaded anew each time."""
    store = ArtefactStore(artefacts_url(shop.settings))
    data = store.get(TASK, shop.versions.names[0], MANIFEST)
    wanted = memory_bytes(msgspec.json.decode(data, type=Manifest).files) * 5 // 2
    return {"SHOPLOOP_VERSIONS_MEMORY_MB": str(wanted // 1_000_000)}


def _swap(shop: World, log: Log, name: str, between_s: float) -> tuple[float, float]:
    """One swap at its place in the rhythm; Unix seconds when it was announced and done."""
    since, began_s = len(log.entries), time.monotonic()
    pointer = shop.point(name)
    (entry,) = log.wait(name, since, 1)[:1]
    time.sleep(max(between_s - (time.monotonic() - began_s), 0.0))
    announced_s = pointer.announced_wall_ms / 1e3
    return announced_s, announced_s + (entry.announce_to_swap_ms or 0.0) / 1e3


def _during(replies: Any, spans: Sequence[tuple[float, float]]) -> Any:
    """Which replies overlap with a swap, shape (len(replies),)."""
    ended, began = replies[:, 0], replies[:, 0] - replies[:, 1]
    during = np.zeros(len(replies), bool)
    for start, end in spans:
        during |= (ended >= start) & (began <= end)
    return during


def _mixed(shop: World, weights: dict[str, str], answered: set[str]) -> int:
    """Answers whose weights are not those that their version shipped with, and those unlogged."""
    follower = Follower(shop.settings, [topics.PREDICTIONS])
    mixed, left = 0, set(answered)
    try:
        for _, message in follower.catch_up(OBEYED_WITHIN_S):
            record = _decode(message.value() or b"")
            if not isinstance(record, Prediction) or record.request_id not in left:
                continue
            left.discard(record.request_id)
            mixed += weights.get(record.model_version) != record.weights_version
    finally:
        follower.close()
    return mixed + len(left)


def main() -> int:
    """Measures both and prints one JSON object."""
    with ground() as place:
        shop = world(place, "swaps", ITEMS, VISITORS)
        print(msgspec.json.encode({**swaps(shop), **publish_to_swap(shop)}).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
