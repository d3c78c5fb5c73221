"""Learning early with importance weights against waiting for final labels, on a drifting stream.

Generated answers of ten rows; what is wanted turns by the week; a purchase follows within a day,
most of them late. Every answer is predicted with the weights in force when it is given, and scored
when all is known.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.ranker import OnlineRanker

HOUR_MS = 3_600_000
FINAL_MS, EARLY_MS = 24 * HOUR_MS, HOUR_MS
ROWS, FEATURES = 10, 8
_NAMES = tuple(f"x{i}" for i in range(FEATURES))
Floats = NDArray[np.float64]


class Answer(NamedTuple):
    """When it was given, its rows (n, F), their final labels, and when each turned positive."""

    at_ms: int
    rows: Floats
    labels: Floats
    turned_ms: Floats


class Step(NamedTuple):
    """When something is learned, in which order, and what: rows, labels, weights, share known."""

    due_ms: int
    number: int
    rows: Floats
    labels: Floats
    weights: Floats
    known: float | None


def stream(
    days: int, per_hour: int, seed: int, turn_days: float, delay_hours: float
) -> Iterator[Answer]:
    """Answers in order; the weights of what is wanted turn full circle in `turn_days`."""
    random = np.random.default_rng(seed)
    first, second = random.normal(size=(2, FEATURES))
    for number in range(days * 24 * per_hour):
        at_ms = number * HOUR_MS // per_hour
        angle = 2 * np.pi * at_ms / (turn_days * 24 * HOUR_MS)
        rows = random.normal(size=(ROWS, FEATURES))
        log_odds = rows @ (np.cos(angle) * first + np.sin(angle) * second) - 3.0
        delays = random.exponential(delay_hours * HOUR_MS, ROWS)
        good = (random.random(ROWS) < 1 / (1 + np.exp(-log_odds))) & (delays < FINAL_MS)
        yield Answer(at_ms, rows, good.astype(np.float64), at_ms + delays)


def compare(answers: list[Answer]) -> dict[str, float]:
    """Mean prequential log loss of each way to learn, by final labels, after a first tenth."""
    known = share_known(answers)
    ways = {
        "at_once": [_whole(each, number, 0) for number, each in enumerate(answers)],
        "waiting": [_whole(each, number, FINAL_MS) for number, each in enumerate(answers)],
        "early_as_final": [s for n, a in enumerate(answers) for s in _early(a, n, None)],
        "early_weighted": [s for n, a in enumerate(answers) for s in _early(a, n, known)],
    }
    return {name: log_loss(answers, steps) for name, steps in ways.items()}


def share_known(answers: list[Answer]) -> float:
    """Share of final positives that is known an hour after the answer."""
    positive = sum(each.labels.sum() for each in answers)
    early = sum((each.labels * (each.turned_ms <= each.at_ms + EARLY_MS)).sum() for each in answers)
    return float(early / positive)


def log_loss(answers: list[Answer], steps: list[Step]) -> float:
    """Mean log loss of rows predicted before they, or anything later, could be learned."""
    ranker, waiting, losses = OnlineRanker(_NAMES), list(steps), []
    heapq.heapify(waiting)
    for answer in answers:
        while waiting and waiting[0].due_ms < answer.at_ms:
            due = heapq.heappop(waiting)
            rows = due.rows.astype(np.float32)
            ranker.learn(rows, due.labels, due.weights, due.known)
        weights = ranker.weights("now")
        log_odds = answer.rows @ weights.coef + weights.bias
        losses.append(float(np.mean(np.logaddexp(0, log_odds) - answer.labels * log_odds)))
    return float(np.mean(losses[len(losses) // 10 :]))


def _whole(answer: Answer, number: int, after_ms: int) -> Step:
    due_ms = answer.at_ms + after_ms
    return Step(due_ms, 2 * number, answer.rows, answer.labels, np.ones(ROWS), None)


def _early(answer: Answer, number: int, known: float | None) -> Iterator[Step]:
    """The early labels; with a share known, what turned positive later too, as it is."""
    early_ms = answer.at_ms + EARLY_MS
    early = answer.labels * (answer.turned_ms <= early_ms)
    yield Step(early_ms, 2 * number, answer.rows, early, np.ones(ROWS), known)
    turned = answer.labels - early
    if known is not None and turned.any():
        due_ms = answer.at_ms + FINAL_MS
        yield Step(due_ms, 2 * number + 1, answer.rows, answer.labels, turned, None)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Size and shape of the stream."""
    parser.add_argument("--days", type=int, default=42)
    parser.add_argument("--per-hour", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)


def run(arguments: argparse.Namespace) -> int:
    """Prints one JSON object: log losses by how fast wants turn and purchases follow."""
    found: dict[str, dict[str, float]] = {}
    for turn_days, delay_hours in ((7, 6.0), (7, 0.5), (28, 6.0), (1e9, 6.0)):
        runs = []
        for seed in range(arguments.seeds):
            made = stream(arguments.days, arguments.per_hour, seed, turn_days, delay_hours)
            answers = list(made)
            runs.append({**compare(answers), "known": share_known(answers)})
        name = f"turn_{turn_days:g}d_delay_{delay_hours:g}h"
        found[name] = {key: round(float(np.mean([r[key] for r in runs])), 4) for key in runs[0]}
    print(json.dumps(found))
    return 0
