"""What the shop's rules cost each request, piece by piece, over a large catalogue.

`python -m bench.serving_rules [--items 100000]` prints microseconds as JSON on its last line: the
median and the 99th percentile of many repeats of each piece, on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count

import numpy as np

from core.candidates import Ask, Candidates, ground_of
from core.features import FEATURE_NAMES
from core.ranking import Ranked
from core.rule_book import RuleBook
from core.rules import parse_rules
from core.shop_state import ShopState
from schemas.predictions import Filters

NOW_MS = 1_700_000_000_000
CANDIDATES = 200
WORDS = 500

MASKING = """
[[block]]
items = ["i5", "i6"]
categories = ["C1"]
[[require]]
excluded_categories = ["C2"]
price_from = 1
"""
PINS = "[[pin]]\nitem = 'i7'\nposition = 1\n[[pin]]\nitem = 'i8'\nposition = 4\n"
BOOSTS = "[[boost]]\nfactor = 2\ncategories = ['C3']\n[[bury]]\nfactor = 2\nprice_from = 20\n"
AT_MOST = "[[at_most]]\ncount = 3\ndepth = 1\n"
EXPOSURE = """
[[exposure]]
each_item = true
share = 0.05
[[exposure]]
categories = ["C4"]
per_hour = 1000000
"""
DIVERSITY = "[[diversity]]\nvalue = 0.3\n"


Pieces = dict[str, list[float]]


def measured(items: int, repeats: int) -> Pieces:
    """Microseconds (median, 99th percentile) by piece."""
    state = shop(items)
    ask = Ask(visitor_id="v", surface="home", now_ms=NOW_MS)
    return masking(state, ask, repeats) | ordering(state, ask, repeats)


def masking(state: ShopState, ask: Ask, repeats: int) -> Pieces:
    """What saying which items may be listed costs."""
    plain, masks = RuleBook(), RuleBook(parse_rules(MASKING))
    filtered = replace(ask, filters=Filters(categories=["C3"], price_from=2, price_to=15))
    new = count(1)

    def another_band() -> object:
        band = Filters(categories=["C3"], price_from=2, price_to=15 + next(new))
        return plain.allowed(state, replace(ask, filters=band))

    def after_a_change() -> object:
        state.put_item("i9", "CHANGED", 3.0, NOW_MS, category="C3")
        return masks.allowed(state, filtered)

    return {
        "no_filters_no_rules": timed(lambda: plain.allowed(state, ask), repeats),
        "filters_seen_before": timed(lambda: plain.allowed(state, filtered), repeats),
        "filters_of_a_new_price_band": timed(another_band, repeats),
        "blocks_and_requirements": timed(lambda: masks.allowed(state, ask), repeats),
        "rules_and_filters": timed(lambda: masks.allowed(state, filtered), repeats),
        "the_same_after_an_item_changed": timed(after_a_change, repeats),
    }


def ordering(state: ShopState, ask: Ask, repeats: int) -> Pieces:
    """What bringing candidates and ordering them by the rules costs."""
    ground, order = ground_of(state, ask), ranking(state)
    parts = {
        "nothing": "",
        "pins": PINS,
        "boosts": BOOSTS,
        "at_most": AT_MOST,
        "exposure": EXPOSURE,
        "diversity": DIVERSITY,
    }
    books = {name: RuleBook(parse_rules(text)) for name, text in parts.items()}
    books["all_of_it"] = RuleBook(parse_rules(MASKING + "".join(parts.values())))
    random, item_ids = np.random.default_rng(3), order.candidates.item_ids
    for _ in range(1_000):
        for name in ("exposure", "all_of_it"):
            books[name].served(state, ask, random.choice(item_ids, 10, replace=False).tolist())
    found = {
        name: timed(partial(book.reordered, ground, order), repeats) for name, book in books.items()
    }
    names = item_ids[:10]
    counted = books["exposure"]
    return {f"ordered_by_{name}": took for name, took in found.items()} | {
        "relations_brought": timed(lambda: books["nothing"].brought(ground), repeats),
        "exposure_counted": timed(lambda: counted.served(state, ask, names), repeats),
    }


def shop(items: int) -> ShopState:
    """A made-up shop with twenty top categories, each item related to two others."""
    random, state = np.random.default_rng(1), ShopState()
    titles = random.integers(0, WORDS, (items, 5))
    for number in range(items):
        state.put_item(
            f"i{number}",
            " ".join(f"WORD{word}" for word in titles[number]),
            number % 100 / 4,
            NOW_MS,
            category=f"C{number % 20}/S{number % 400}",
            stock=number % 50,
            compatible_with=[f"i{(number * 7 + 1) % items}", f"i{(number * 7 + 2) % items}"],
        )
    for day in range(20):
        basket = [f"i{number}" for number in random.integers(0, items, 5)]
        state.apply("v", "purchase", basket, NOW_MS - day * 86_400_000)
    return state


def ranking(state: ShopState) -> Ranked:
    """Two hundred candidates in order."""
    random = np.random.default_rng(2)
    rows = np.sort(random.choice(len(state.catalogue), CANDIDATES, replace=False))
    names = [state.catalogue.item_ids[row] for row in rows.tolist()]
    features = np.zeros((CANDIDATES, len(FEATURE_NAMES)), np.float32)
    scores = random.normal(-3, 1, CANDIDATES)
    found = Candidates(names, features, np.ones(CANDIDATES, np.uint8), rows)
    return Ranked(found, scores, np.argsort(-scores).tolist())


def timed(work: Callable[[], object], repeats: int) -> list[float]:
    """Median and 99th percentile in microseconds, after some unmeasured repeats."""
    took = []
    for number in range(repeats + repeats // 10):
        started = time.perf_counter()
        work()
        if number >= repeats // 10:
            took.append((time.perf_counter() - started) * 1e6)
    return [round(float(np.percentile(took, q)), 1) for q in (50, 99)]


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.serving_rules", description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=500)
    options = parser.parse_args()
    print(json.dumps({"us_p50_p99": measured(options.items, options.repeats)}))


if __name__ == "__main__":
    main()
