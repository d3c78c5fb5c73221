"""What a serving process takes in memory for a million shoppers, and how soon it can read them.

A real store is filled through its own write path with histories computed in bulk; a sample applied
event by event must be stored byte for byte the same. Then a fresh process opens it, reads shoppers
as requests do and takes events in, and says how much memory it has come to hold.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from bench.streams_ground import ROOT
from core.history_packing import packed_history
from core.settings import Settings
from core.shop_state import KIND_WEIGHT, ShopState
from core.visitor_history import VisitorHistory
from serving.checkpoint import Checkpoints, Place
from serving.state_store import StateStore

ITEMS, VISITS, A_VISIT = 100_000, 10, 5
EVENTS = VISITS * A_VISIT
SAMPLE = 2_000
READ, APPLIED, HOT = 50_000, 20_000, 2_000
CLUSTER = "bench"
_KINDS = ("view_item", "add_to_cart", "purchase")
_CHUNK = 10_000
_START_MS, _VISIT_MS, _EVENT_MS = 1_700_000_000_000, 28 * 86_400_000, 60_000

Whole = NDArray[np.int64]


def memory(shoppers: int, folder: Path) -> dict[str, Any]:
    """Fills a store in `folder` and measures a process that holds it; two minutes for a million."""
    started = time.perf_counter()
    store = StateStore(folder)
    kept = Checkpoints(store, Settings())
    kept.load(CLUSTER)
    stock(kept.state)
    fill(kept, shoppers)
    different = differing(kept, min(SAMPLE, shoppers))
    _fill_block(kept)
    _save(kept)
    filled_s = time.perf_counter() - started
    store.close()
    command = [sys.executable, "-m", "bench.serving_memory", str(folder), str(shoppers)]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    per_million = 1_000_000 / shoppers
    on_disk = sum(file.stat().st_size for file in folder.iterdir())
    return {
        "gib_per_million_shoppers": round(found["rss_bytes"] / 2**30 * per_million, 3),
        "gib_without_base": round(
            (found["rss_bytes"] - found["base_bytes"]) / 2**30 * per_million, 3
        ),
        "sample": {"shoppers": min(SAMPLE, shoppers), "differing": different},
        "fill_s": round(filled_s, 1),
        "disk_bytes_per_shopper": round(on_disk / shoppers),
        **found,
    }


def hold(folder: Path, shoppers: int) -> dict[str, Any]:
    """Opens the store as a starting process would, then reads and applies; what it took."""
    import serving.app  # noqa: F401 — what a serving process imports

    process, base = psutil.Process(), psutil.Process().memory_info().rss
    began = time.perf_counter()
    kept = Checkpoints(StateStore(folder), Settings())
    if kept.load(CLUSTER) is None or len(kept.state.visitors) != shoppers:
        raise RuntimeError(f"the store at {folder} does not hold {shoppers} shoppers")
    reopened_s = time.perf_counter() - began
    opened = process.memory_info().rss
    random = np.random.default_rng(3)
    names = [_name(number) for number in random.permutation(shoppers)[:READ].tolist()]
    cold_us = _read(kept.state, names)
    hot = names[-min(HOT, READ) :]
    hot_us = _read(kept.state, hot)
    apply_us = _apply(kept, names)
    return {
        "base_bytes": base,
        "opened_bytes": opened,
        "rss_bytes": process.memory_info().rss,
        "reopen_s": round(reopened_s, 2),
        "cold_read_us": round(cold_us, 1),
        "hot_read_us": round(hot_us, 1),
        "apply_us": round(apply_us, 1),
        "held": kept.held_shoppers,
    }


def _read(state: ShopState, names: list[str]) -> float:
    """Microseconds a shopper, as a request reads them."""
    began = time.perf_counter()
    for name in names:
        if len(state.history(name)) != EVENTS or state.visitor(name) is None:
            raise RuntimeError(f"{name} is not as it was written")
    return (time.perf_counter() - began) / len(names) * 1e6


def _apply(kept: Checkpoints, names: list[str]) -> float:
    """Microseconds an event, checkpoints as they become due left out."""
    random, spent_s = np.random.default_rng(4), 0.0
    items = random.integers(0, kept.state.cooccurrence.size, APPLIED).tolist()
    for number, item in enumerate(items):
        began = time.perf_counter()
        kept.state.apply(names[number % len(names)], "purchase", [_item(item)], _START_MS * 2)
        spent_s += time.perf_counter() - began
        if kept.is_full:
            _save(kept)
    _save(kept)
    return spent_s / APPLIED * 1e6


def _save(kept: Checkpoints) -> None:
    kept.begin(Place({}, None))
    while kept.under_way:
        kept.pack()
        kept.write()
        kept.end()


def stock(state: ShopState) -> None:
    """The catalogue."""
    for number in range(ITEMS):
        state.put_item(_item(number), f"Item {number} of the catalogue", 1.0 + number % 90, 1)


def fill(kept: Checkpoints, shoppers: int) -> None:
    """Puts histories into the store as a rebuild does: made room for whenever memory is full."""
    visitors = kept.state.visitors
    log_price = kept.state.catalogue.log_price
    for number, history in enumerate(_histories(shoppers, log_price)):
        visitors[_name(number)] = history
        if number % 1_000 == 0 and kept.is_full:
            kept.spill()


def _fill_block(kept: Checkpoints) -> None:
    """Every slot taken and every pair with a weight: the block at its largest."""
    state, block = kept.state, kept.state.cooccurrence
    state.cooccurrence.relations = max(block.relations, 10 * EVENTS)
    for number in range(block.max_items):
        state.apply(f"filler-{number % 99}", "view_item", [_item(number)], _START_MS)
    for number in range(99):
        state.drop(f"filler-{number}")
    every = np.arange(block.size)
    block.rows.change(block.gram, every)
    block.gram += 1.0


def differing(kept: Checkpoints, sample: int) -> int:
    """How many of the first shoppers are stored otherwise than event by event."""
    plain = ShopState()
    stock(plain)
    for number, (rows, kinds, times) in enumerate(_events(sample)):
        for row, kind, at_ms in zip(rows.tolist(), kinds.tolist(), times.tolist(), strict=True):
            plain.apply(_name(number), _KINDS[kind], [_item(row)], at_ms)
    return sum(
        packed_history(plain.visitors[_name(number)])
        != packed_history(kept.state.visitors[_name(number)])
        for number in range(sample)
    )


def _events(shoppers: int) -> Iterator[tuple[Whole, Whole, Whole]]:
    """Rows, kinds and times of each shopper's events, each of shape (EVENTS,)."""
    for first in range(0, shoppers, _CHUNK):
        random = np.random.default_rng(first)
        n = _CHUNK  # whatever is wanted of it, so that a sample is of the same shoppers
        # Distinct rows: a place in each of EVENTS strides of the catalogue, in any order.
        stride = ITEMS // EVENTS
        rows = random.integers(0, stride, (n, EVENTS)) + np.arange(EVENTS) * stride
        rows = random.permuted(rows, axis=1)
        kinds = random.integers(0, len(_KINDS), (n, EVENTS))
        visits = np.sort(random.integers(0, _VISIT_MS // 2, (n, VISITS)), axis=1)
        starts = visits + np.arange(VISITS) * _VISIT_MS + _START_MS
        times = (starts[:, :, None] + np.arange(A_VISIT) * _EVENT_MS).reshape(n, EVENTS)
        yield from islice(zip(rows, kinds, times, strict=True), shoppers - first)


def _histories(shoppers: int, log_price: NDArray[np.float32]) -> Iterator[VisitorHistory]:
    """What applying each shopper's events, shopper after shopper, would leave."""
    weights = np.array([KIND_WEIGHT[kind] for kind in _KINDS], np.float32)
    visit = np.repeat(np.arange(1, VISITS + 1, dtype=np.int32), A_VISIT)
    for number, (rows, kinds, times) in enumerate(_events(shoppers), start=1):
        history = VisitorHistory()
        bought = kinds == _KINDS.index("purchase")
        history.rows, history.last_ms, history.recent = rows, times, rows.tolist()
        history.counts = history.fading = weights[kinds]
        history.bought = bought.astype(np.float32)
        history.first_visit = history.last_visit = visit
        history.sessions, history.taken = VISITS, int(bought.sum())
        history.newest_ms, history.session_ms = int(times[-1]), int(times[-A_VISIT])
        history.gap_ms = _gap(times)
        for price in log_price[rows[bought]].tolist():
            history.price_sum += price
        history.price_count = history.taken
        history.related = number * EVENTS
        yield history


def _gap(times: Whole) -> float:
    gaps = (times[A_VISIT::A_VISIT] - times[A_VISIT - 1 : -1 : A_VISIT]).tolist()
    mean = float(gaps[0])
    for gap in gaps[1:]:
        mean = 0.7 * mean + 0.3 * float(gap)
    return mean


def _name(number: int) -> str:
    return f"shopper-{number:08d}"


def _item(number: int) -> str:
    return f"item-{number:06d}"


if __name__ == "__main__":
    print(json.dumps(hold(Path(sys.argv[1]), int(sys.argv[2]))))
