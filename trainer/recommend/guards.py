"""Constraints on a successor beside its overall gain: protected customers, items and calibration.

Whatever a version wins on the whole, it must not take from new customers, rarely sold items, a
price band, or items that sell less than the median.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.calibration import calibration
from core.gate import Compared, at_most, keeps_share, slice_not_worse
from core.surfaces import DISCOVER
from schemas.models import GateCheck
from trainer.recommend.checks import CANDIDATE, CHAMPION
from trainer.recommend.data import ShopData
from trainer.recommend.evaluate import Judged, wanted_items
from trainer.recommend.holdout import HeldOut

SLICE_MARGIN = 0.5
"""In nats an item: a slice of fifty requests is known to about ±0.3."""
KEPT_EXPOSURE = 0.5
CALIBRATION_MARGIN = 0.05
COLD_SALES = 5
FEW_ITEMS = 10
BINS = 10

Mask = NDArray[np.bool_]


def guard_checks(data: ShopData, judged: Judged, after_ms: int, seed: int) -> list[GateCheck]:
    """Every constraint on a successor, in comparison with its champion."""
    sold = sales_before(data, after_ms)
    checks = [
        slice_not_worse(f"slice_{name}", _of(judged, mask), seed, SLICE_MARGIN)
        for name, mask in slices(data, judged.requests, sold).items()
    ]
    tail = tail_of(sold)
    for surface in judged.surfaces:
        mine, theirs = (exposure(judged, m, surface, tail) for m in (CANDIDATE, CHAMPION))
        checks.append(keeps_share(f"{surface}_tail_exposure", mine, theirs, KEPT_EXPOSURE))
    for surface in judged.surfaces:
        mine, theirs = (calibration_error(judged, m, surface) for m in (CANDIDATE, CHAMPION))
        name = f"{surface}_calibration"
        checks.append(at_most(name, mine, theirs + CALIBRATION_MARGIN))
    return checks


def sales_before(data: ShopData, after_ms: int) -> Counter[str]:
    """How often each item was bought before the hold-out."""
    bought = (i for i in data.interactions if i.kind == "purchase" and i.at_ms <= after_ms)
    return Counter(item for one in bought for item in one.item_ids)


def slices(data: ShopData, requests: Sequence[HeldOut], sold: Counter[str]) -> dict[str, Mask]:
    """The protected parts of the requests: who asked, and what they bought for the first time."""
    few = np.array([len(request.bought) <= FEW_ITEMS for request in requests], np.bool_)
    rare = [any(sold[item] <= COLD_SALES for item in one.new_basket) for one in requests]
    price = _mean_prices(data, requests)
    known = price[~np.isnan(price)]
    middle = float(np.median(known)) if len(known) else 0.0
    return {
        "new_customers": few,
        "returning_customers": ~few,
        "cold_items": np.array(rare, np.bool_),
        "low_prices": price <= middle,
        "high_prices": price > middle,
    }


def tail_of(sold: Counter[str]) -> frozenset[str]:
    """Items that sell less than the median item that sells at all.

    >>> sorted(tail_of(Counter({"a": 9, "b": 4, "c": 1})))
    ['c']
    """
    middle = float(np.median(list(sold.values()))) if sold else 0.0
    return frozenset(item for item, count in sold.items() if count < middle)


def exposure(judged: Judged, model: str, surface: str, group: frozenset[str]) -> float:
    """The share of a model's exposure that a group of items has, places counted by discount.

    *Source:* Singh and Joachims, Fairness of Exposure in Rankings, 2018, section 3.1.
    """
    theirs, everyone = 0.0, 0.0
    for answer in judged.shown[model, surface]:
        for place, item in enumerate(answer):
            weight = 1 / float(np.log2(place + 2))
            everyone += weight
            theirs += weight * (item in group)
    return theirs / everyone if everyone else 0.0


def calibration_error(judged: Judged, model: str, surface: str) -> float:
    """Expected calibration error of the shown slots: |what was said - what came true| by bin.

    *Source:* Naeini, Cooper and Hauskrecht, Obtaining Well Calibrated Probabilities, 2015.
    """
    each = calibration(0.0, 1 / BINS, BINS)
    said = [0.0] * BINS
    for answer, request in zip(judged.shown[model, surface], judged.requests, strict=True):
        wanted = wanted_items(request, surface)
        chances = [1 / (1 + float(np.exp(-score))) for score in answer.values()]
        places = each.places(chances)
        each.add_all(places, [int(item in wanted) for item in answer])
        for place, chance in zip(places, chances, strict=True):
            said[place] += chance
    gap = sum(abs(a - b) for a, b in zip(said, each.came_true, strict=True))
    return gap / max(sum(each.seen), 1.0)


def _of(judged: Judged, mask: Mask) -> Compared:
    places = np.flatnonzero(mask)
    customers = judged.customers
    return Compared(
        judged.log_prob[CANDIDATE, DISCOVER][places],
        judged.log_prob[CHAMPION, DISCOVER][places],
        [customers[int(i)] for i in places],
    )


def _mean_prices(data: ShopData, requests: Sequence[HeldOut]) -> NDArray[np.float64]:
    price = {row.item_id: row.price for row in data.items if row.price is not None}
    found = [[price[item] for item in one.new_basket if item in price] for one in requests]
    return np.array([float(np.mean(sorted(each))) if each else np.nan for each in found])
