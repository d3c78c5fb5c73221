"""What the measured points of a sizing say of one more row, version or shopper."""

from __future__ import annotations

from typing import Any

from bench.serving_sizing import slopes


def point(items: int, shoppers: int, version: float | None = 0.0) -> dict[str, Any]:
    """A process of 100 MiB, 2 KiB a row and 4 KiB a shopper up to 20,000."""
    rss = 100.0 + (2 * items + 4 * min(shoppers, 20_000)) / 1024
    return {"items": items, "shoppers": shoppers, "rss_mib": rss, "version_mib": version}


def test_slopes_come_from_points_that_differ_in_one_thing() -> None:
    points = [
        point(10_000, 5_000, 1.0),
        point(10_000, 10_000, 1.0),
        point(100_000, 10_000, 1.0 + 90_000 / 1024),
        point(300_000, 10_000, None),
        point(10_000, 100_000, 1.0),
    ]
    assert slopes(points) == {
        "kib_per_row": 2.0,
        "kib_per_hot_shopper": 4.0,
        "mib_base": 100.0,
        "kib_per_row_of_a_version": 1.0,
        "mib_of_a_version": -8.8,
    }


def test_one_point_has_no_slope() -> None:
    assert set(slopes([point(10, 10)]).values()) == {None}
