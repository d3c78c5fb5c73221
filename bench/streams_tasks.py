"""The task stage in this process: time per judged slot, and how exact its rolling AUC is."""

from __future__ import annotations

import random
import time
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from core.features import FEATURE_NAMES, feature_schema_hash
from core.metrics import AUC_SLOTS
from core.settings import DAY_MS, HOUR_MS, Settings
from core.task_stage import TaskStage
from schemas.metrics import Metric
from schemas.models import Gate, Publish, Weights
from schemas.outcomes import BasketSeen, JudgedList

SHOWN, CONSIDERED = 10, 20
_START_MS = 15_000 * DAY_MS
_VERSION = "0190a8b0-bench"
Floats = NDArray[np.float64]


def slot_us(lists: int = 6_000, per_close: int = 250, seed: int = 7) -> dict[str, Any]:
    """Microseconds to measure, learn from and test for drift one judged slot.

    A slot is a row that is judged: ten shown and twenty considered per list, as served. Baskets and
    closes (every `per_close` lists) are in the time; decoding is not.
    """
    stage = TaskStage(Settings())
    stage.step(_published())
    stage.close(_START_MS, 0)
    records = judged_lists(lists, seed)
    began_s = time.perf_counter()
    for begin in range(0, lists, per_close):
        for judged, basket in records[begin : begin + per_close]:
            stage.step(judged)
            if basket is not None:
                stage.step(basket)
        stage.close(records[min(begin + per_close, lists) - 1][0].closed_at_ms, 0)
    took_us = (time.perf_counter() - began_s) * 1e6
    rows = lists * (SHOWN + CONSIDERED)
    return {
        "slot_us": round(took_us / rows, 3),
        "slot_shown_us": round(took_us / (lists * SHOWN), 3),
        "slots": rows,
    }


def judged_lists(count: int, seed: int) -> list[tuple[JudgedList, BasketSeen | None]]:
    """Final lists of the champion a minute and a half apart, a tenth of them with a basket."""
    chance = random.Random(seed)
    rows = np.random.default_rng(seed).random((count, SHOWN + CONSIDERED, len(FEATURE_NAMES)))
    features = rows.round(6).tolist()
    return [_judged(number, features[number], chance) for number in range(count)]


def _judged(
    number: int, features: list[list[float]], chance: random.Random
) -> tuple[JudgedList, BasketSeen | None]:
    at_ms = _START_MS + number * 90_000
    items = chance.sample(range(4_000), SHOWN + CONSIDERED)
    names = [f"i{item:05d}" for item in items]
    bought = [names[int(chance.random() * len(names))]] if chance.random() < 0.1 else []
    visitor = f"v{int(chance.random() * 20_000):07d}"
    judged = JudgedList(
        judged_id=f"j{number}",
        prediction_id=f"p{number}",
        request_id=f"r{number}",
        visitor_id=visitor,
        task="recommend",
        surface="home",
        policy="loop",
        arm="champion",
        model_version=_VERSION,
        weights_version="w1",
        served_at_ms=at_ms,
        closed_at_ms=at_ms + DAY_MS,
        age="final",
        version=3,
        item_ids=names[:SHOWN],
        scores=[chance.gauss(-3.0, 1.0) for _ in range(SHOWN)],
        labels=[int(name in bought) for name in names],
        propensities=[1.0] * SHOWN,
        considered=names[SHOWN:],
        features=features,
        clicks=int(chance.random() < 0.3),
        basket=bought,
        new_basket=bought,
        latency_ms=chance.uniform(2, 9),
        feature_schema=feature_schema_hash(),
    )
    if not bought:
        return judged, None
    seen = BasketSeen(
        event_id=f"e{number}",
        event_time_ms=at_ms + HOUR_MS,
        visitor_id=visitor,
        task="recommend",
        surface="home",
        item_ids=bought,
    )
    return judged, seen


def _published() -> Publish:
    """The version that answers: promoted at once, as the first one is."""
    ranker = Weights(
        task="recommend",
        surface="home",
        role="live",
        model_version=_VERSION,
        version="w1",
        event_time_ms=_START_MS,
        feature_schema=feature_schema_hash(),
        names=list(FEATURE_NAMES),
        coef=[0.1] * len(FEATURE_NAMES),
        bias=-3.0,
    )
    return Publish(
        command_id="publish",
        task="recommend",
        retrain_id="first",
        event_time_ms=_START_MS,
        model_version=_VERSION,
        manifest_sha256="0" * 64,
        gate=Gate(passed=True),
        ranker=[ranker],
        data_until_ms=_START_MS,
    )


def auc_abs_err(streams: int = 6, lists: int = 900) -> float:
    """The greatest distance of the published AUC from the exact one over random streams.

    Scores fall on ever fewer values from stream to stream, so that ties are many in the last ones.
    """
    worst = 0.0
    for number in range(streams):
        labels, scores = _scored(np.random.default_rng(number), lists, ties=4**number)
        worst = max(worst, abs(_published_auc(labels, scores) - exact_auc(labels, scores)))
    return worst


def exact_auc(labels: Floats, scores: Floats) -> float:
    """Area under the ROC curve of the newest slots by ranks, ties at their middle rank.

    Source: Hanley & McNeil 1982, the Mann-Whitney form.

    >>> exact_auc(np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.1, 0.4, 0.4, 0.8]))
    0.875
    """
    newest, ranked = labels.ravel()[-AUC_SLOTS:], scores.ravel()[-AUC_SLOTS:]
    positives = float(newest.sum())
    ranks = float(rankdata(ranked)[newest > 0].sum())
    return (ranks - positives * (positives + 1) / 2) / (positives * (len(newest) - positives))


def _scored(random_: np.random.Generator, lists: int, ties: int) -> tuple[Floats, Floats]:
    scores = random_.normal(-2.0, 1.0, (lists, SHOWN))
    if ties > 1:
        scores = np.round(scores * (1024 / ties)) / (1024 / ties)
    chance = 1 / (1 + np.exp(-scores))
    return (random_.random(scores.shape) < chance).astype(np.float64), scores


def _published_auc(labels: Floats, scores: Floats) -> float:
    stage = TaskStage(Settings())
    (pattern, _), *_ = judged_lists(1, 0)
    for number, (row, given) in enumerate(zip(labels, scores, strict=True)):
        judged = msgspec.structs.replace(
            pattern,
            judged_id=f"{number:05d}",
            features=[],
            considered=[],
            labels=[int(label) for label in row],
            scores=given.tolist(),
        )
        stage.step(judged)
    found = stage.close(_START_MS + 10 * DAY_MS, 0).records
    values = [r.value for _, _, r in found if isinstance(r, Metric) and r.name == "auc"]
    return values[-1]
