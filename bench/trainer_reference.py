"""Our sequence model beside RecTools' SASRecModel on the public Tmall log of 2014.

Leave-one-out: each shopper's last brand is the test, the one before it the validation, and both
models rank every brand that was ever trained on. Both read the same sequences, at most 50 brands
long, on one thread, one after the other. Settings were chosen by the validation brand alone; they
stand here and are printed.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.datasets import unpacked
from bench.streams_peers import environment
from core.sequence import HISTORY_LENGTH, SequenceVocabulary
from trainer.recommend.fit import Recipe, fit
from trainer.recommend.model import Shape
from trainer.recommend.windows import VisitorSessions

PACK, FILE = "tmall_2014", "t_alibaba_data.csv"
K = 10
SHORTEST = 4
VALIDATION, TEST = -2, -1
SHAPE = Shape(width=64, layers=1, heads=2, dropout=0.2)
RECIPE = Recipe(shape=SHAPE, epochs=8, batch_rows=64, learning_rate=4e-3, repeat_weight=1.0, seed=7)
PEER = "rectools SASRecModel"
PEER_SETTINGS = {
    "n_factors": SHAPE.width,
    "n_blocks": SHAPE.layers,
    "n_heads": SHAPE.heads,
    "dropout_rate": SHAPE.dropout,
    "session_max_len": HISTORY_LENGTH,
    "loss": "softmax",
    "lr": 1e-3,
    "batch_size": 128,
    "epochs": 10,
}
"""The settings left out are the documented defaults."""
QUICK_USERS = 120
WITHIN_S = 300

Visits = dict[str, list[tuple[int, str]]]
"""(day, brand) by shopper, in order."""


def measure(data: Path, quick: bool) -> dict[str, Any]:
    """The key `reference`: both models' NDCG@10 on the last brand, and what training took."""
    visits = read_visits(data)
    if quick:
        visits = dict(list(visits.items())[:QUICK_USERS])
    print(f"reference: {len(visits)} shoppers, {sum(map(len, visits.values()))} visits", flush=True)
    ours, train_s = _ours(visits)
    found = {
        "name": "shoploop sequence model, softmax over all brands",
        "data": f"{PACK}, leave-one-out, full ranking",
        "ndcg10": ours[TEST],
        "valid_ndcg10": ours[VALIDATION],
        "train_s": round(train_s, 2),
        "settings": str(RECIPE),
        "peer": PEER,
    }
    print(f"reference: ours {ours}, {train_s:.1f} s, {RECIPE}", flush=True)
    try:
        theirs, their_s = _peer(visits)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        return {"reference": {**found, "peer_ndcg10": None, "error": str(said)[-600:]}}
    print(f"reference: {PEER} {theirs}, {their_s:.1f} s, {PEER_SETTINGS}", flush=True)
    return {
        "reference": {
            **found,
            "peer_ndcg10": theirs[TEST],
            "peer_valid_ndcg10": theirs[VALIDATION],
            "peer_train_s": round(their_s, 2),
            "peer_settings": PEER_SETTINGS,
        }
    }


def read_visits(data: Path) -> Visits:
    """Each shopper's brands by day, as they stand in the file; repeats in a row count once."""
    rows: dict[str, list[tuple[int, str]]] = defaultdict(list)
    with (unpacked(data, PACK) / FILE).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            month, day = row["visit_datetime"].split("-")
            rows[row["user_id"]].append((100 * int(month) + int(day), row["brand_id"]))
    visits = {
        user: _without_runs(sorted(found, key=lambda v: v[0])) for user, found in rows.items()
    }
    return {user: found for user, found in visits.items() if len(found) >= SHORTEST}


def _without_runs(visits: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    return [visit for i, visit in enumerate(visits) if i == 0 or visits[i - 1][1] != visit[1]]


def days_of(visits: Sequence[tuple[int, str]]) -> tuple[tuple[str, ...], ...]:
    """The distinct brands of each day.

    >>> days_of([(401, "a"), (401, "b"), (401, "a"), (402, "a")])
    (('a', 'b'), ('a',))
    """
    days: dict[int, dict[str, None]] = {}
    for day, brand in visits:
        days.setdefault(day, {})[brand] = None
    return tuple(tuple(brands) for brands in days.values())


def ndcg(answers: Mapping[str, Sequence[str]], visits: Visits, target: int) -> float:
    """Mean NDCG@10 of the one wanted brand; a shopper without an answer counts zero."""
    gains = []
    for user, found in visits.items():
        listed = list(answers.get(user, ()))[:K]
        wanted = found[target][1]
        gains.append(1 / np.log2(listed.index(wanted) + 2) if wanted in listed else 0.0)
    return round(float(np.mean(gains)), 5)


def _ours(visits: Visits) -> tuple[dict[int, float], float]:
    vocabulary = SequenceVocabulary(sorted({b for v in visits.values() for _, b in v[:-2]}))
    sessions = [VisitorSessions(days_of(found[:-2])) for found in visits.values()]
    started = time.perf_counter()
    model = fit(sessions, vocabulary, [""] * len(vocabulary), RECIPE)
    train_s = time.perf_counter() - started
    result = {}
    for target in (VALIDATION, TEST):
        histories = [[brand for _, brand in found[:target]] for found in visits.values()]
        best = np.argsort(-model.log_probs(histories), axis=1, kind="stable")[:, :K]
        names = [[vocabulary.item_ids[i] for i in row] for row in best]
        result[target] = ndcg(dict(zip(visits, names, strict=True)), visits, target)
    return result, train_s


def _peer(visits: Visits) -> tuple[dict[int, float], float]:
    """Raises OSError or SubprocessError when the peer cannot be had or fails."""
    program = environment("rectools")
    with tempfile.TemporaryDirectory() as folder:
        given, written = Path(folder, "given.json"), Path(folder, "written.json")
        asked = {
            "sequences": {user: [b for _, b in found] for user, found in visits.items()},
            "settings": PEER_SETTINGS,
            "targets": [VALIDATION, TEST],
        }
        given.write_text(json.dumps(asked))
        subprocess.run(
            [str(program), str(Path(__file__).parent / "peers" / "with_rectools.py"),
             str(given), str(written)],
            check=True, capture_output=True, text=True, timeout=WITHIN_S, cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        )  # fmt: skip
        said = json.loads(written.read_text())
    answers = said["answers"]
    return {
        target: ndcg(answers[str(target)], visits, target) for target in (VALIDATION, TEST)
    }, float(said["train_s"])
