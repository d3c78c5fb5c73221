"""Chinese reviews of an online shop's categories, of hotels and of food delivery, in file order."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from bench.datasets import unpacked

SHOP, DELIVERY, HOTELS = (
    "online_shopping_10_cats.csv",
    "waimai_10k.csv",
    "ChnSentiCorp_htl_all.csv",
)


@dataclass(frozen=True)
class Review:
    """One review; `good` is its label."""

    category: str
    good: bool
    text: str


def read_reviews(data: Path) -> list[Review]:
    """Every review that has a text, the first of equal texts, in the files' order."""
    folder = unpacked(data, "zh_reviews")
    found: dict[str, Review] = {}
    for name in (SHOP, DELIVERY, HOTELS):
        with (folder / name).open(encoding="utf-8-sig", newline="") as opened:
            for row in csv.DictReader(opened):
                text = (row["review"] or "").replace("\ufeff", "").strip()
                category = row.get("cat") or name.split("_")[0]
                if text:
                    found.setdefault(text, Review(category, row["label"] == "1", text))
    return list(found.values())
