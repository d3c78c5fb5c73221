"""What one request costs over HTTP, and how long an event takes to change a list."""

from __future__ import annotations

import time
from typing import Any

import httpx

from adapters.clock import wall_ms
from bench.serving_world import Server, World, run_load
from bench.streams_ground import process
from console.lag import group_lags
from schemas.ids import new_id

RERANKS, WARM_UP = 5_000, 1_000
CONNECTIONS = (4, 6, 8, 12)
WANTED_RPS = 400.0
SEEN_WITHIN_S = 20.0
JOINED_WITHIN_S = 300.0
BEHIND_AT_MOST = 100
"""Records; marks of transactions count as such and are never read."""
POLL_S = 0.01


def rerank(shop: World, server: Server, candidates: int, n: int = RERANKS) -> dict[str, Any]:
    """Re-ranks known items for known visitors, one sequential client."""
    asked = {"candidates": candidates, "k": min(candidates, 100), "n": n, "warm_up": WARM_UP}
    return run_load({**_at(shop, server), **asked, "seed": candidates})


def recommend(shop: World, server: Server, n: int = 8_000) -> dict[str, Any]:
    """Rate, latencies and processor time with the load generator on the same cores.

    Callers that ask again at once are added until `WANTED_RPS` requests a second are answered; the
    figures are those of that load (of the fastest, if none gets there), and `loads` has them all.
    `at_400_a_second` paces the same rate by Poisson instead, from the moment each request was due.
    CPU is the serving process's own, user and system, of all its threads.
    """
    run_load({**_at(shop, server), "connections": CONNECTIONS[-1], "n": 1_000, "seed": 3})
    loads = [_closed(shop, server, connections, n) for connections in CONNECTIONS]
    enough = [load for load in loads if load["rps"] >= WANTED_RPS]
    chosen = enough[0] if enough else max(loads, key=lambda load: float(load["rps"]))
    paced = run_load(
        {**_at(shop, server), "connections": 32, "rate": WANTED_RPS, "seconds": 20.0, "seed": 5}
    )
    named = ("rps", "p50_ms", "p99_ms", "cpu_ms", "connections")
    return {
        **{name: chosen[name] for name in named},
        "items": len(shop.item_ids),
        "loads": loads,
        "at_400_a_second": paced,
    }


def _closed(shop: World, server: Server, connections: int, n: int) -> dict[str, Any]:
    """One load of callers that ask again as soon as they have their answer."""
    before_s = server.cpu_s()
    load = run_load({**_at(shop, server), "connections": connections, "n": n, "seed": 4})
    cpu_ms = (server.cpu_s() - before_s) / load["n"] * 1e3
    return {"connections": connections, "cpu_ms": round(cpu_ms, 3), **load}


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
        _until_joined(shop)
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


def _until_joined(shop: World) -> None:
    """Waits until the worker has read what other parts of the benchmark have had answered."""
    deadline = time.monotonic() + JOINED_WITHIN_S
    while any((lag.records or 0) > BEHIND_AT_MOST for lag in group_lags(shop.settings)):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the worker is behind after {JOINED_WITHIN_S:.0f} s")
        time.sleep(0.2)


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
