"""`python -m bench drift`: how fast the product's detectors find a drift, and how often in vain.

Learners on SINE1, MIXED, CIRCLES and Agrawal streams are watched by `core.drift_scan` at the
default budget of one false alarm per million observations; nothing is tuned to the streams. Delay
counts from the middle of a transition, an alarm before it as none; error is prequential. Then
clicks that fall from 3.0 to 2.4 %, and sequential tests of two equal arms looked at 100 times.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import fmean
from typing import Any

from bench.drift_learners import DETECTORS, OURS, Run, watch
from bench.drift_rates import equal_arms, falling_clicks, steady_errors
from core.settings import Settings

STREAMS = ("sine1", "mixed", "circles", "agrawal")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--seeds", type=int, default=5, help="streams of each kind")
    parser.add_argument("--peer-seeds", type=int, default=1, help="of those, for each baseline")
    parser.add_argument("--processes", type=int, default=2)


def run(arguments: argparse.Namespace) -> int:
    """Prints a line per detector and stream, and one JSON object at the end."""
    began = time.perf_counter()
    budget = 1e6 / Settings().false_alarms_per_million
    wanted = [
        (stream, seed, detector)
        for stream in STREAMS
        for detector in DETECTORS
        for seed in range(arguments.seeds if detector == OURS else arguments.peer_seeds)
    ]
    with ProcessPoolExecutor(arguments.processes, get_context("spawn")) as pool:
        clicks = pool.submit(falling_clicks, budget)
        steady = pool.submit(steady_errors)
        arms = pool.submit(equal_arms)
        runs = list(pool.map(watch, *zip(*wanted, strict=True), [budget] * len(wanted)))
        found = {stream: _of_stream(stream, runs) for stream in STREAMS}
        result: dict[str, Any] = {
            **{stream: found[stream][OURS] for stream in STREAMS},
            "ctr_30_to_24": clicks.result(),
            "aa_100_looks": arms.result()["confidence_sequence"],
            "aa_100_looks_others": arms.result(),
            "steady_errors": steady.result(),
            "baselines": {s: {d: f for d, f in found[s].items() if d != OURS} for s in STREAMS},
            "detector": OURS,
            "false_alarms_per_million": Settings().false_alarms_per_million,
            "seeds": arguments.seeds,
            "baseline_seeds": arguments.peer_seeds,
        }
    for stream in STREAMS:
        for detector, figures in found[stream].items():
            print(f"{stream:9}{detector:22}{json.dumps(figures)}")
    result["wall_s"] = round(time.perf_counter() - began, 1)
    print(json.dumps(result))
    return 0


def _of_stream(stream: str, runs: list[Run]) -> dict[str, dict[str, Any]]:
    return {
        detector: summary([r for r in runs if r.stream == stream and r.detector == detector])
        for detector in DETECTORS
        if any(r.stream == stream and r.detector == detector for r in runs)
    }


def summary(runs: list[Run]) -> dict[str, Any]:
    """Detected of all drifts, false alarms, mean delay over those detected, mean error."""
    delays = [delay for each in runs for delay in each.delays]
    return {
        "detected": len(delays),
        "drifts": sum(each.drifts for each in runs),
        "false_alarms": sum(len(each.false_alarms) for each in runs),
        "delay": round(fmean(delays), 1) if delays else None,
        "error": round(fmean(each.error for each in runs), 4),
        "us_per_instance": round(fmean(each.detector_us for each in runs), 2),
    }
