"""`python -m bench.serving_large`: a shop of a million items, answered alone and during swaps.

One serving process: what it takes in memory and until it is ready, what a lone request of each
kind costs, and the latencies of each kind before and while a version is read, verified and swapped
in. Searches are by words alone. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from bench.serving_search import figures_of, queries_of
from bench.serving_swaps import listening, room_for_two, swapped_under, varied
from bench.serving_world import Server, World, run_load, serving, world
from bench.streams_ground import ground
from bench.streams_speed import say

WITHIN_S = 900.0
SWAP_S = 25.0
"""From one swap's announcement to the next: more than a version of a million items takes."""

KINDS: dict[str, dict[str, Any]] = {
    "recommend": {"path": "/v1/recommend"},
    "similar": {"path": "/v1/similar", "kind": "similar"},
    "rerank100": {"path": "/v1/recommend", "candidates": 100, "k": 100},
    "search": {"path": "/v1/search", "kind": "search"},
}


def large(shop: World, n: int, rate: float) -> dict[str, Any]:
    """The figures of a shop; `n` lone requests of each kind, `rate` a second during swaps."""
    KINDS["search"]["texts"] = queries_of(shop)
    names = [varied(shop, 100 + number) for number in range(len(KINDS))]
    began_s = time.monotonic()
    with serving(shop, extra=room_for_two(shop)) as server, listening(shop) as log:
        found: dict[str, Any] = {
            "items": len(shop.item_ids),
            "ready_s": round(time.monotonic() - began_s, 1),
            "searchable_s": round(_searchable(shop, server) - began_s, 1),
            "rss_mib": round(server.rss_mb()),
        }
        for kind, asked in KINDS.items():
            found[kind] = _alone(shop, server, asked, n)
            say(f"{kind}: {found[kind]}")
        for (kind, asked), name in zip(KINDS.items(), names, strict=True):
            load = {**asked, "connections": 8, "rate": rate, "seed": 12}
            found[kind]["swap"] = swapped_under(shop, server, log, load, [name], SWAP_S)
            found[kind]["swap"]["rss_mib"] = round(server.rss_mb())
            say(f"{kind}: {found[kind]}")
    return found


def _alone(shop: World, server: Server, asked: dict[str, Any], n: int) -> dict[str, Any]:
    """One client that asks again as soon as it has its answer; processor time of serving."""
    load = {"port": server.port, "visitors": len(shop.visitors), "items": len(shop.item_ids)}
    run_load({**load, **asked, "n": n // 5, "seed": 1})
    before_s = server.cpu_s()
    told = run_load({**load, **asked, "n": n, "seed": 2})
    cpu_ms = (server.cpu_s() - before_s) / told["n"] * 1e3
    return {**{name: told[name] for name in ("p50_ms", "p99_ms")}, "cpu_ms": round(cpu_ms, 1)}


def _searchable(shop: World, server: Server) -> float:
    """When searches found every item, monotonic seconds."""
    until_s = time.monotonic() + WITHIN_S
    while time.monotonic() < until_s:
        with contextlib.suppress(OSError):  # it has much to do
            if figures_of(server)["shoploop_serving_search_items"] >= len(shop.item_ids):
                return time.monotonic()
        time.sleep(0.5)
    raise RuntimeError(f"searches did not find all items within {WITHIN_S:.0f} s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.serving_large", description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--shoppers", type=int, default=2_000)
    parser.add_argument("--requests", type=int, default=300, help="of each kind, one by one")
    parser.add_argument("--rate", type=float, default=8.0, help="a second, during swaps")
    options = parser.parse_args(arguments)
    with ground() as place:
        shop = world(place, "large", options.items, options.shoppers)
        print(json.dumps(large(shop, options.requests, options.rate)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
