"""What answers cost without a network: `serving.answer` and the encoding of its records.

Two processes, each bound to one core, answer in batches over a catalogue of 100,000 items with a
signed version of the trainer's own shape. No visitor is asked for twice in a row, so that nothing
is answered from what was computed before.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np

from adapters.artefacts import ArtefactStore
from adapters.home import artefacts_url, home_of
from adapters.onnx import load_version
from adapters.signing import load_verify_key
from bench.serving_version import TASK, Versions
from core.features import feature_schema_hash
from core.settings import Settings
from schemas.codec import encode
from schemas.predictions import RecommendRequest
from serving.answer import Moment, answer
from serving.engine import Engine
from serving.remembering import RememberingState

ITEMS, VISITORS, BASKETS, BASKET = 100_000, 2_000, 10, 5
CANDIDATES, BATCH = 100, 8
DAY_MS = 86_400_000
NOW_MS = 1_760_000_000_000
PROCESSES = 2


@dataclass(frozen=True)
class Share:
    """What one process measured: answers, CPU seconds, wall seconds."""

    kind: str
    answers: int
    cpu_s: float
    wall_s: float


def reranks(seconds: float = 10.0) -> dict[str, float]:
    """Re-ranks a second on two cores, and CPU milliseconds for each kind of answer."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=folder)
        context = multiprocessing.get_context("spawn")
        maker = context.Process(target=_make, args=(settings,))
        maker.start()
        maker.join()
        barrier, found = context.Barrier(PROCESSES), context.Queue()
        workers = [
            context.Process(target=_work, args=(core, settings, seconds, barrier, found))
            for core in range(PROCESSES)
        ]
        for worker in workers:
            worker.start()
        shares = [found.get() for _ in range(PROCESSES * len(KINDS))]
        for worker in workers:
            worker.join()
    return _figures(shares)


def state_of(seed: int, visitors: int = VISITORS) -> RememberingState:
    """A shop of 100,000 items whose visitors have bought fifty each, by a long-tailed law."""
    state, random = RememberingState(), np.random.default_rng(seed)
    for number, item in enumerate(item_ids()):
        state.put_item(item, title_of(number), 1.0 + number % 50, 1)
    shares = 1.0 / np.arange(1, ITEMS + 1) ** 0.8
    drawn = random.choice(ITEMS, (visitors, BASKETS, BASKET), p=shares / shares.sum())
    for basket in range(BASKETS):
        at_ms = NOW_MS - 28 * DAY_MS + int(basket * 2.7 * DAY_MS)
        for visitor in range(visitors):
            bought = [f"i{i:06d}" for i in drawn[visitor, basket].tolist()]
            state.apply(f"v{visitor:06d}", "purchase", bought, at_ms + visitor)
    return state


def item_ids() -> list[str]:
    """Names of the items, most wanted first."""
    return [f"i{number:06d}" for number in range(ITEMS)]


def title_of(number: int) -> str:
    """A title of four words; few share all of them."""
    return f"{COLOURS[number % 5]} {THINGS[number // 5 % 8]} {MOTIFS[number // 40 % 5]} {number}"


COLOURS = ("red", "ivory", "pink", "blue", "green")
THINGS = ("mug", "cake stand", "lunch bag", "candle", "clock", "doormat", "tea towel", "bunting")
MOTIFS = ("retrospot", "paisley", "heart", "owl", "polkadot")


def recommend(number: int, _: np.random.Generator) -> RecommendRequest:
    """The next visitor's list for `home`."""
    return RecommendRequest(request_id=f"r{number}", visitor_id=f"v{number % VISITORS:06d}")


def rerank(number: int, random: np.random.Generator, candidates: int = CANDIDATES, k: int = 100
           ) -> RecommendRequest:  # fmt: skip
    """The same with the items given, all of them to be returned."""
    drawn = random.integers(ITEMS, size=candidates).tolist()
    return RecommendRequest(
        request_id=f"r{number}",
        visitor_id=f"v{number % VISITORS:06d}",
        k=k,
        candidate_item_ids=[f"i{i:06d}" for i in drawn],
    )


KINDS: dict[str, tuple[Callable[[int, np.random.Generator], RecommendRequest], int]] = {
    "rerank_one": (rerank, 1),
    "rerank": (rerank, BATCH),
    "recommend_one": (recommend, 1),
    "recommend": (recommend, BATCH),
}


def engine_of(settings: Settings) -> Engine:
    """The one version in the store, verified as a replica verifies it."""
    store = ArtefactStore(artefacts_url(settings))
    (name,) = (path.name for path in (Path(store.root) / TASK).iterdir())
    key = load_verify_key(home_of(settings))
    return Engine(champion=load_version(store, TASK, name, key, feature_schema_hash()))


def run_kind(
    kind: str, state: RememberingState, engine: Engine, seconds: float, seed: int
) -> Share:
    """Answers and encodes until the time is over."""
    make, size = KINDS[kind]
    random, number = np.random.default_rng(seed), seed * 1_000_000
    batches = [
        [make(number + i * size + j, random) for j in range(size)] for i in range(2_000 // size)
    ]
    answers, cpu, start = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - start < seconds:
        batch = batches[answers // size % len(batches)]
        for prediction in answer(state, engine, batch, Moment(NOW_MS, start, "bench")):
            encode(prediction)
        answers += size
    return Share(kind, answers, time.process_time() - cpu, time.perf_counter() - start)


def _make(settings: Settings) -> None:
    names = item_ids()
    Versions(settings, names).make(1)


def _work(
    core: int, settings: Settings, seconds: float, barrier: Barrier, found: Queue[Share]
) -> None:
    os.sched_setaffinity(0, {core})
    state, engine = state_of(7), engine_of(settings)
    for kind in KINDS:
        run_kind(kind, state, engine, 0.2, core)
        barrier.wait()
        found.put(run_kind(kind, state, engine, seconds, core))


def _figures(shares: list[Share]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for kind in KINDS:
        mine = [share for share in shares if share.kind == kind]
        answers = sum(share.answers for share in mine)
        figures[f"{kind}_cpu_ms"] = round(sum(share.cpu_s for share in mine) / answers * 1e3, 3)
        figures[f"{kind}_s"] = round(sum(share.answers / share.wall_s for share in mine), 1)
    return {
        "reranks_s": figures["rerank_s"],
        "answer_cpu_ms": figures["recommend_cpu_ms"],
        "candidates": CANDIDATES,
        "items": ITEMS,
        "details": figures,
    }


if __name__ == "__main__":
    print(json.dumps(reranks(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)))
