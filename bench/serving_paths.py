"""What one request costs over HTTP, and how long an event takes to change a list."""

from __future__ import annotations

import time
from typing import Any

import httpx

from adapters.clock import wall_ms
from bench.serving_world import Server, World, run_load
from bench.streams_ground import process
from schemas.ids import new_id

RERANKS, WARM_UP = 5_000, 1_000
CONNECTIONS = 8
SEEN_WITHIN_S = 20.0
POLL_S = 0.01


def rerank(shop: World, server: Server, candidates: int, n: int = RERANKS) -> dict[str, Any]:
    """Re-ranks known items for known visitors, one sequential client."""
    asked = {"candidates": candidates, "k": min(candidates, 100), "n": n, "warm_up": WARM_UP}
    return run_load({**_at(shop, server), **asked, "seed": candidates})


def recommend(shop: World, server: Server, n: int = 12_000) -> dict[str, Any]:
    """The rate with the load generator beside it, then latencies at the rate that is asked for.

    CPU is the serving process's own, user and system, of all its threads.
    """
    run_load({**_at(shop, server), "connections": CONNECTIONS, "n": 1_000, "seed": 3})
    before_s = server.cpu_s()
    full = run_load({**_at(shop, server), "connections": CONNECTIONS, "n": n, "seed": 4})
    cpu_ms = (server.cpu_s() - before_s) / full["n"] * 1e3
    paced = run_load(
        {**_at(shop, server), "connections": 32, "rate": 400.0, "seconds": 20.0, "seed": 5}
    )
    return {
        "rps": full["rps"],
        "p50_ms": paced["p50_ms"],
        "p99_ms": paced["p99_ms"],
        "cpu_ms": round(cpu_ms, 3),
        "items": len(shop.item_ids),
        "closed_loop": full,
        "at_400_a_second": paced,
    }


def event_to_list(shop: World, server: Server, n: int = 400) -> dict[str, Any]:
    """From an event posted over HTTP to the first list that shows it was heard of.

    The streams' worker runs, so the event takes its whole way: intake, join, `events.valid`.
    """
    log = shop.ground.folder / "logs" / "streams.log"
    taken: list[float] = []
    with (
        process(["-m", "streams"], shop.ground.environ(shop.settings), log),
        httpx.Client(base_url=server.url, timeout=10.0) as client,
    ):
        _one_event(shop, client, 0)  # until the worker has joined its groups
        for turn in range(1, n + 1):
            taken.append(_one_event(shop, client, turn))
    found = sorted(taken)
    p99 = found[min(round(0.99 * len(found)), len(found) - 1)]
    return {
        "event_to_list_ms_p99": round(p99 * 1e3, 1),
        "event_to_list": {
            "n": n,
            "p50_ms": round(found[len(found) // 2] * 1e3, 1),
            "slowest_ms": [round(each * 1e3, 1) for each in found[-5:]],
        },
    }


def _one_event(shop: World, client: httpx.Client, turn: int) -> float:
    """Seconds until the item a new shopper bought is on their list."""
    visitor = f"new-{turn}-{new_id()}"
    item = shop.item_ids[-1 - turn]
    event = {
        "event_name": "purchase",
        "event_id": new_id(),
        "event_time_ms": wall_ms(),
        "visitor_id": visitor,
        "transaction_id": new_id(),
        "items": [{"item_id": item, "quantity": 1}],
    }
    began = time.perf_counter()
    client.post("/v1/events", json=event).raise_for_status()
    within_s = SEEN_WITHIN_S if turn else 60.0
    while time.perf_counter() - began < within_s:
        reply = client.post("/v1/recommend", json={"visitor_id": visitor, "surface": "home"})
        if any(slot["item_id"] == item for slot in reply.raise_for_status().json()["items"]):
            return time.perf_counter() - began
        time.sleep(POLL_S)
    raise RuntimeError(f"an event was not seen within {within_s:.0f} s")


def _at(shop: World, server: Server) -> dict[str, Any]:
    return {"port": server.port, "visitors": len(shop.visitors), "items": len(shop.item_ids)}
