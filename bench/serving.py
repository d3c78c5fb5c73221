"""`python -m bench serving`: how fast, fresh and safe to change the serving processes are.

Starts a broker of its own on free loopback ports in a temporary directory, real serving processes
beside it, and a load generator as a process of its own; ends only what it started. Each part
prints what it finds; the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from bench.serving_world import World, serving, world
from bench.streams_ground import Ground, ground
from bench.streams_speed import say

PARTS = (
    *("reranks", "rerank", "recommend", "freshness", "search"),
    *("publish", "swaps", "memory", "openapi", "soak"),
)
KEYS = (
    *("rerank100", "rerank300", "reranks_s", "recommend", "search", "classify"),
    *("event_to_list_ms_p99", "publish_to_swap_ms_p99", "swaps", "gib_per_million_shoppers"),
    *("soak", "schemathesis_server_errors"),
)
"""What the last line always has; null for what was not run or failed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by commas")
    parser.add_argument("--items", type=int, default=100_000, help="size of the catalogue")
    parser.add_argument("--visitors", type=int, default=5_000, help="shoppers that ask")
    parser.add_argument("--shoppers", type=int, default=1_000_000, help="for memory")
    parser.add_argument("--soak-s", type=float, default=600.0, help="how long the soak lasts")
    parser.add_argument("--kills", type=int, default=5, help="kills during the second soak")


class Bench:
    """The parts that were asked for, over one broker and one shop."""

    def __init__(self, arguments: argparse.Namespace, stack: ExitStack) -> None:
        self._arguments = arguments
        self._stack = stack
        self._ground: Ground | None = None
        self._shop: World | None = None

    @property
    def ground(self) -> Ground:
        """The broker, started at the first call."""
        if self._ground is None:
            self._ground = self._stack.enter_context(ground())
        return self._ground

    @property
    def shop(self) -> World:
        """The shop, stocked at the first call."""
        if self._shop is None:
            self._shop = world(self.ground, "shop", self._arguments.items, self._arguments.visitors)
        return self._shop

    def reranks(self) -> Any:
        """Re-ranks a second on two cores, without HTTP."""
        return _part("rank", "reranks", 10.0)

    def rerank(self) -> dict[str, Any]:
        """Re-ranks over HTTP, one client."""
        from bench.serving_paths import rerank

        with serving(self.shop) as server:
            return {f"rerank{n}": rerank(self.shop, server, n) for n in (100, 300)}

    def recommend(self) -> dict[str, Any]:
        """Recommendations in full."""
        from bench.serving_paths import recommend

        with serving(self.shop) as server:
            return {"recommend": recommend(self.shop, server)}

    def freshness(self) -> dict[str, Any]:
        """From an event to a list."""
        from bench.serving_paths import event_to_list

        with serving(self.shop) as server:
            return event_to_list(self.shop, server)

    def search(self) -> Any:
        """Searches and classified texts."""
        return _part("search", "search_and_classify", self.ground)

    def publish(self) -> Any:
        """From a pointer to the last of four processes."""
        return _part("swaps", "publish_to_swap", self.shop)

    def swaps(self) -> Any:
        """Swaps under load."""
        return _part("swaps", "swaps", self.shop)

    def memory(self) -> Any:
        """A million shoppers."""
        folder = self.ground.folder / "memory"
        return _part("memory", "memory", self._arguments.shoppers, folder)

    def openapi(self) -> dict[str, Any]:
        """Hostile requests by the OpenAPI document."""
        with serving(self.shop) as server:
            return {
                "schemathesis_server_errors": _part("schemathesis", "server_errors", server.url)
            }

    def soak(self) -> dict[str, Any]:
        """A long load, then one over kills."""
        from bench.serving_soak import soak

        return {"soak": soak(self.shop, self._arguments.soak_s, self._arguments.kills)}


def _part(module: str, name: str, *given: Any) -> Any:
    """What a function of another file finds; each imports what it needs only when asked."""
    return getattr(importlib.import_module(f"bench.serving_{module}"), name)(*given)


def run(arguments: argparse.Namespace) -> int:
    """Runs the parts in order; 1 when one of them failed."""
    wanted = [name for name in PARTS if name in arguments.only.split(",")]
    result: dict[str, Any] = dict.fromkeys(KEYS)
    failed = False
    with ExitStack() as stack:
        bench = Bench(arguments, stack)
        for name in wanted:
            began = time.monotonic()
            say(f"--- {name}")
            part: Callable[[], dict[str, Any]] = getattr(bench, name)
            try:
                found = part()
                result.update(found)
                say(f"{name}: {json.dumps(found)} ({time.monotonic() - began:.0f} s)")
            except Exception as error:  # noqa: BLE001 - one part's failure leaves the others
                failed = True
                say(f"{name} failed: {error!r}")
                result.setdefault("errors", {})[name] = repr(error)
    print(json.dumps(result))
    return 1 if failed else 0
