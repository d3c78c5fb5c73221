"""`python -m bench.serving_sizing`: what a serving process takes, by catalogue and by shoppers.

For each size of shop: real processes on a shared port over a broker of their own; memory, start-up
without and with a state on disk, and requests a second by one and by two processes. The load
generator runs on the same machine and takes its part of the cores. The last line is one JSON
object with the points and the slopes between them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from adapters.home import home_of
from bench.serving_swaps import varied
from bench.serving_world import Server, World, run_load, serving, world
from bench.streams_ground import Ground, ground
from bench.streams_speed import say
from core.settings import Settings
from local.child import free_ports

CONNECTIONS = 32
SHARED = {"SHOPLOOP_HTTP_SHARED": "true", "SHOPLOOP_VERSIONS_MEMORY_MB": "4096"}
MIB, KIB = 2**20, 2**10
_WITHIN_S = 600.0


class Size(NamedTuple):
    """A shop: items of the catalogue, and shoppers.

    Each has ten orders of five items; many shoppers have three, or reading them would take minutes.
    """

    items: int
    shoppers: int

    @property
    def orders(self) -> int:
        """Of each shopper."""
        return 3 if self.shoppers > 20_000 else 10


SIZES = (
    Size(10_000, 10_000),
    Size(10_000, 5_000),
    Size(100_000, 10_000),
    Size(300_000, 10_000),
    Size(10_000, 100_000),
)
Point = dict[str, Any]


def sizing(sizes: Sequence[Size] = SIZES, seconds: float = 5.0) -> dict[str, Any]:
    """Measures each size with loads of so many seconds; the object that is printed.

    Two processes, and two versions in one, are measured at the first size of each catalogue.
    """
    points: list[Point] = []
    with ground() as found:
        for size in sizes:
            began_s = time.monotonic()
            is_first = size.items not in {point["items"] for point in points}
            points.append(_point(found, size, seconds, is_first=is_first))
            say(f"{json.dumps(points[-1])} ({time.monotonic() - began_s:.0f} s)")
    return {
        "cores": psutil.cpu_count(),
        "state_memory_mb": Settings().state_memory_mb,
        "points": points,
        "slopes": slopes(points),
    }


def slopes(points: Sequence[Point]) -> dict[str, float | None]:
    """What one more of something takes, from pairs of points that differ in nothing else.

    The two in MiB are what is left without rows and shoppers.

    >>> small = {"items": 10, "shoppers": 5, "rss_mib": 12.0, "version_mib": 3.0}
    >>> large = small | {"items": 20, "rss_mib": 22.0, "version_mib": 5.0}
    >>> found = slopes([small, large])
    >>> found["kib_per_row"], found["kib_per_row_of_a_version"], found["mib_of_a_version"]
    (1024.0, 204.8, 1.0)
    """
    few = min(points, key=lambda point: (point["shoppers"], point["items"]))
    rows = [p for p in points if p["shoppers"] == _common(points, "shoppers")]
    hot = sorted((p for p in points if p["items"] == few["items"]), key=lambda p: p["shoppers"])
    versions = [p for p in rows if p["version_mib"] is not None]
    row, shopper = _slope(rows, "items", "rss_mib"), _slope(hot[:2], "shoppers", "rss_mib")
    version = _slope(versions, "items", "version_mib")
    return {
        "kib_per_row": row,
        "kib_per_hot_shopper": shopper,
        "mib_base": _rest(few["rss_mib"], (row, few["items"]), (shopper, few["shoppers"])),
        "kib_per_row_of_a_version": version,
        "mib_of_a_version": _rest(versions[0]["version_mib"], (version, versions[0]["items"]))
        if versions
        else None,
    }


def _rest(whole_mib: float, *parts: tuple[float | None, int]) -> float | None:
    """MiB that so many of something, at so many KiB each, leave of the whole."""
    taken = 0.0
    for kib, count in parts:
        if kib is None:
            return None
        taken += kib * count
    return round(whole_mib - taken * KIB / MIB, 1)


def _common(points: Sequence[Point], name: str) -> Any:
    """The value that most points have."""
    values = [point[name] for point in points]
    return max(values, key=values.count)


def _slope(points: Sequence[Point], by: str, of: str) -> float | None:
    """KiB per one more, between the smallest and the largest."""
    if len({point[by] for point in points}) < 2:
        return None
    low, high = (pick(points, key=lambda point: point[by]) for pick in (min, max))
    return round(float((high[of] - low[of]) * MIB / KIB / (high[by] - low[by])), 3)


def _point(found: Ground, size: Size, seconds: float, *, is_first: bool) -> Point:
    name = f"size{size.items}x{size.shoppers}"
    shop = world(found, name, size.items, size.shoppers, size.orders)
    (port,) = free_ports(1)
    point: Point = {"items": size.items, "shoppers": size.shoppers, "orders": size.orders}
    with _started(shop, "one", port) as (one, took_s):
        point |= {"cold_s": took_s, "rss_mib_ready": round(one.rss_mb())}
        point["one"] = _load(shop, port, [one], seconds)
        point["rss_mib"] = round(one.rss_mb())
        point["two"] = _with_another(shop, port, one, seconds) if is_first else None
        point["version_mib"] = _one_more_version(shop, one) if is_first else None
    folder = home_of(shop.settings) / "serving" / "one" / "state"
    point["disk_mib"] = round(_size(folder) / MIB, 1)
    with _started(shop, "one", port) as (one, took_s):
        point |= {"from_disk_s": took_s, "rss_mib_from_disk": round(one.rss_mb())}
    return point


def _with_another(shop: World, port: int, one: Server, seconds: float) -> dict[str, float]:
    with _started(shop, "two", port) as (two, _):
        return _load(shop, port, [one, two], seconds)


@contextmanager
def _started(shop: World, name: str, port: int) -> Iterator[tuple[Server, float]]:
    """A process, and the seconds until it listened: on a shared port that is when it is ready."""
    began_s = time.monotonic()
    with serving(shop, name, SHARED, port) as server:
        while not _listens(server):
            if time.monotonic() - began_s > _WITHIN_S or server.child.poll() is not None:
                raise RuntimeError(f"{name} does not listen after {_WITHIN_S:.0f} s")
            time.sleep(0.02)
        yield server, round(time.monotonic() - began_s, 1)


def _listens(server: Server) -> bool:
    found = psutil.Process(server.child.pid).net_connections("tcp")
    return any(each.status == psutil.CONN_LISTEN for each in found)


def _load(shop: World, port: int, servers: Sequence[Server], seconds: float) -> dict[str, float]:
    """Connections that ask again as soon as they have their answer."""
    asked = {"visitors": len(shop.visitors), "items": len(shop.item_ids), "port": port}
    asked |= {"connections": CONNECTIONS, "n": 1_000_000_000}
    run_load({**asked, "seconds": min(seconds, 2.0), "seed": 2})
    before = sum(each.cpu_s() for each in servers)
    found = run_load({**asked, "seconds": seconds, "seed": 3})
    used_s = sum(each.cpu_s() for each in servers) - before
    if set(found["statuses"]) != {"200"}:
        raise RuntimeError(f"not every request was answered: {found['statuses']}")
    return {
        "rps": found["rps"],
        "cpu_ms": round(1e3 * used_s / found["n"], 3),
        "p50_ms": found["p50_ms"],
        "p99_ms": found["p99_ms"],
    }


def _one_more_version(shop: World, server: Server) -> int:
    """MiB that a second version takes beside the first, which stays for a rollback."""
    before = server.rss_mb()
    name = varied(shop, 2)
    shop.point(name)
    server.wait_ready(name)
    return round(server.rss_mb() - before)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.serving_sizing", description=__doc__)
    named = ",".join(f"{size.items}x{size.shoppers}" for size in SIZES)
    parser.add_argument("--sizes", default=named, help="items x shoppers, by commas")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load")
    options = parser.parse_args(arguments)
    sizes = [Size(*map(int, each.split("x"))) for each in options.sizes.split(",")]
    print(json.dumps(sizing(sizes, options.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
