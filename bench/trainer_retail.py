"""Part of `python -m bench trainer`: what the whole pipeline earns on Online Retail.

Walked from 2011-03-01, judged from June to November 2011; `quick` judges April and May instead.
Parameters were chosen on data through May.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

from bench.floor_data import day_ms, purchase_sessions
from bench.floor_loop import SURFACES, Judged
from bench.floor_models import Recipes
from bench.floor_report import interval
from bench.retail import ARCHIVE, load
from bench.trainer_retail_peers import answers, figures
from bench.trainer_retail_walk import CONTROL, LOOP, TRIGGERED, Walk, Walked

START = "2011-03-01"
JUDGED = ("2011-06-01", "2011-12-01")
QUICK = ("2011-04-01", "2011-06-01")
_SHORT = {"popular_7d": "popular_7d", CONTROL: "control", "static": "static"}
Table = dict[str, dict[str, dict[str, float]]]


def measure(data: Path, quick: bool) -> dict[str, Any]:
    """The keys `retail` and `triggered`."""
    since_ms, until_ms = (day_ms(day) for day in (QUICK if quick else JUDGED))
    found = [s for s in purchase_sessions(load(data / ARCHIVE.name)) if s.past.at_ms < until_ms]
    began = time.perf_counter()
    walked = Walk(found, day_ms(START), Recipes()).run(since_ms)
    walk_s = time.perf_counter() - began
    judged = [j for j in walked.judged if j.at_ms >= since_ms]
    peers, error = _peers(walked)
    both = [*judged, *peers]
    table = {s: figures([j for j in both if j.surface == s]) for s in SURFACES}
    _print(table)
    retail = _retail(table, judged, peers) | {"walk_s": round(walk_s, 1)}
    retail |= {"judged": list(QUICK if quick else JUDGED), "table": table}
    if error:
        retail["peers_error"] = error
    return {"retail": retail, "triggered": _triggered(table, walked, since_ms)}


def _peers(walked: Walked) -> tuple[list[Judged], str]:
    try:
        return answers(walked.asked), ""
    except (OSError, subprocess.SubprocessError) as failure:
        said = getattr(failure, "stderr", None) or str(failure)
        return [], " ".join(str(said).split())[-600:]


def _retail(table: Table, judged: list[Judged], peers: list[Judged]) -> dict[str, Any]:
    home, discover = table["home"], table["discover"]
    out: dict[str, Any] = {
        "home_hr10": home[LOOP]["hr10"],
        "home_recall10": home[LOOP]["recall10"],
        "discover_hr10": discover[LOOP]["hr10"],
    }
    for policy, short in _SHORT.items():
        out[f"discover_{short}_hr10"] = discover[policy]["hr10"]
        out[f"home_{short}_hr10"] = home[policy]["hr10"]
    names = sorted({j.policy for j in peers})
    best = max(names, key=lambda n: (home[n]["hr10"] + discover[n]["hr10"], n), default=None)
    out["best_peer"] = best
    for surface in SURFACES:
        of_peers = [table[surface][name]["hr10"] for name in names]
        out[f"best_peer_{surface}_hr10"] = max(of_peers, default=None)
    rivals = ["popular_7d", CONTROL, "static", *names]
    out["intervals"] = {s: _intervals([*judged, *peers], s, rivals) for s in SURFACES}
    return out


def _intervals(rows: list[Judged], surface: str, rivals: list[str]) -> dict[str, list[float]]:
    """The loop's HR@10 less each rival's on the same requests, with 95 % bounds by customer."""
    found: dict[str, list[Judged]] = {}
    for row in rows:
        if row.surface == surface:
            found.setdefault(row.policy, []).append(row)
    value = _is_hit
    return {name: interval(found[LOOP], found[name], value) for name in rivals}


def _is_hit(row: Judged) -> float:
    return float(row.found > 0)


def _triggered(table: Table, walked: Walked, since_ms: int) -> dict[str, Any]:
    kept = {s: table[s][TRIGGERED]["hr10"] / table[s][LOOP]["hr10"] for s in SURFACES}
    trainings = walked.trigger.trainings
    for training in trainings:
        day = time.strftime("%Y-%m-%d", time.gmtime(training.at_ms / 1000))
        print(f"  retrained {day}: {training.reason}")
    return {
        "kept": round(min(kept.values()), 4),
        **{f"kept_{s}": round(share, 4) for s, share in kept.items()},
        "trainings": sum(t.at_ms >= since_ms for t in trainings),
        "weekly_trainings": sum(at >= since_ms for at in walked.weekly_ms),
        "trainings_since_march": len(trainings),
        "weekly_trainings_since_march": len(walked.weekly_ms),
    }


def _print(table: Table) -> None:
    for surface, policies in table.items():
        print(f"{surface}: HR@10, recall@10")
        for name, row in policies.items():
            print(f"  {name:<20}{row['hr10']:.3f}  {row['recall10']:.3f}  n={row['n']}")
