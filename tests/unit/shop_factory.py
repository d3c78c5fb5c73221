"""A small made-up shop: customers of a taste buy within it, so that a history says something."""

from __future__ import annotations

import numpy as np

from trainer.recommend.data import CatalogueRow, Interaction, ShopData, clean

START_MS = 1_298_937_600_000
DAY_MS = 86_400_000
TASTES = 6
ITEMS_PER_TASTE = 24


def item_name(taste: int, number: int) -> str:
    """The id of an item."""
    return f"{taste}{number:03d}"


def catalogue() -> list[CatalogueRow]:
    """Every item, known from the start; its title says nothing."""
    return [
        CatalogueRow(item_name(taste, number), f"ITEM {number}", 1.0 + number, START_MS)
        for taste in range(TASTES)
        for number in range(ITEMS_PER_TASTE)
    ]


def orders(days: int = 50, customers: int = 72, seed: int = 1) -> list[Interaction]:
    """Each customer orders four items about every five days, nine in ten of their own taste."""
    random = np.random.default_rng(seed)
    found = []
    for customer in range(customers):
        at_ms = START_MS + int(random.integers(5 * DAY_MS))
        while at_ms < START_MS + days * DAY_MS:
            tastes = np.where(random.random(4) < 0.9, customer % TASTES, random.integers(TASTES))
            numbers = random.integers(ITEMS_PER_TASTE, size=4)
            items = [item_name(int(t), int(n)) for t, n in zip(tastes, numbers, strict=True)]
            name = f"{customer}-{at_ms}"
            found.append(
                Interaction(at_ms, name, "purchase", f"c{customer}", tuple(dict.fromkeys(items)))
            )
            at_ms += int(random.integers(3 * DAY_MS, 7 * DAY_MS))
    return sorted(found, key=lambda one: (one.at_ms, one.event_id))


def shop_data(days: int = 50, seed: int = 1) -> ShopData:
    """The same as training data."""
    found = orders(days, seed=seed)
    return clean(found, catalogue(), START_MS + days * DAY_MS, len(found))
