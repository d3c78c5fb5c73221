"""`python -m bench stationary`: drift retrains on the Online Retail invoices, dates permuted.

Ten replays with the dates of all invoices permuted, through shop state, online ranker and task
stage, where every drift retrain is a false alarm; then the real order, where the shop does change.
Nothing is tuned here: thresholds are the product's own, from its false-alarm budget.

The lists are ranked without a sequence model, and a challenger answers as the champion does: input
detectors see baskets alone, and on permuted dates a frozen and a fresh model are worth the same. So
a retrain stands for one that was published 6 hours later and promoted when its pairs allowed it.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace

import numpy as np

from bench.floor_data import WEEK_MS, Session, day_ms, in_batches, purchase_sessions, put_items
from bench.retail import load
from bench.stationary_loop import SURFACES, StageLoop
from core.ranker_fit import fit_initial
from core.ranking import RankerWeights
from core.rehearsal import rehearse
from core.retail_rules import Invoice
from core.settings import HOUR_MS, Settings
from core.shop_state import ShopState
from schemas.models import Retrain

FRESH_WEEKS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--replays", type=int, default=10, help="permuted replays, before the real")
    parser.add_argument("--start", default="2011-03-01", help="when the first version is served")
    parser.add_argument("--until", default="2011-12-10", help="first day that is left out")
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> int:
    """Prints one line per replay and one JSON object at the end."""
    found = load()
    start_ms, until_ms = day_ms(arguments.start), day_ms(arguments.until)
    results = []
    for number in range(arguments.replays + 1):
        real = number == arguments.replays
        random = np.random.default_rng([arguments.seed, number])
        dated = found if real else permuted(found, random)
        began = time.perf_counter()
        retrains, summary = replay(dated, start_ms, until_ms)
        summary["order"] = "real" if real else f"permuted {number}"
        summary["wall_s"] = round(time.perf_counter() - began, 1)
        print(json.dumps(summary), flush=True)
        for retrain in retrains if real else []:
            print(f"  {day_of(retrain.event_time_ms)} {retrain.kind}: {retrain.reason}")
        results.append(summary)
    print(
        json.dumps(
            {
                "drift_retrains_permuted": [r["drift_retrains"] for r in results[:-1]],
                "drift_retrains_real": results[-1]["drift_retrains"],
                "replays": results,
                "false_alarms_per_million": Settings().false_alarms_per_million,
            }
        )
    )
    return 0


def permuted(invoices: list[Invoice], random: np.random.Generator) -> list[Invoice]:
    """The same invoices with their dates permuted, in the order of the new dates."""
    dates = random.permutation(np.array([invoice.at_ms for invoice in invoices], np.int64))
    moved = [
        replace(
            invoice,
            at_ms=int(at_ms),
            lines=tuple(replace(line, at_ms=int(at_ms)) for line in invoice.lines),
        )
        for invoice, at_ms in zip(invoices, dates, strict=True)
    ]
    return sorted(moved, key=lambda invoice: (invoice.at_ms, invoice.invoice))


def replay(
    invoices: list[Invoice], start_ms: int, until_ms: int
) -> tuple[list[Retrain], dict[str, object]]:
    """Accepted drift retrains of one pass, and its counts."""
    found = [s for s in purchase_sessions(invoices) if s.past.at_ms < until_ms]
    before = [s for s in found if s.past.at_ms < start_ms]
    state, initial = first_weights(before, start_ms)
    loop = StageLoop(state, Settings(), initial)
    for session in before:
        loop.basket(session)
    loop.first_version(start_ms)
    for batch in in_batches([s for s in found if s.past.at_ms >= start_ms], 2 * HOUR_MS):
        loop.barrier(batch)
    loop.finish()
    accepted = [r for r in loop.retrains if r.state == "accepted" and r.kind != "bootstrap"]
    suppressed = [r for r in loop.retrains if r.state == "suppressed"]
    return accepted, {
        "drift_retrains": len(accepted),
        "alarms": [
            f"{alarm.detector}/{alarm.surface}/{alarm.status}/{day_of(alarm.event_time_ms)}"
            for alarm in loop.alarms
        ],
        "suppressed_records": len(suppressed),
        "promotions": loop.promotions,
        "metric_records": loop.metrics,
        "judged_lists": loop.judged,
        "stage_us_per_list": round(1e6 * loop.stage_s / max(loop.judged, 1), 1),
    }


def first_weights(
    before: list[Session], start_ms: int
) -> tuple[ShopState, dict[str, RankerWeights]]:
    """Shop state at the start, and ranker weights fitted on the four weeks before it."""
    state = ShopState()
    for session in before:
        put_items(state, session)
    since_ms = start_ms - FRESH_WEEKS * WEEK_MS
    rows = rehearse(state, [s.past for s in before], since_ms, SURFACES, lambda _: None)
    return state, {s: fit_initial(*rows[s].stacked(), version=f"first-{s}") for s in SURFACES}


def day_of(at_ms: int) -> str:
    """The UTC day as text.

    >>> day_of(0)
    '1970-01-01'
    """
    return str(np.datetime64(at_ms, "ms"))[:10]
