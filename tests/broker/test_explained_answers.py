"""Answers that serving does not remember are explained from a real ClickHouse."""

from __future__ import annotations

import numpy as np
import pytest
from record_samples import prediction
from tables_factory import Tables

from adapters.clickhouse import connected
from adapters.tables_migrate import migrate
from core.features import FEATURE_NAMES, POSITION
from schemas import topics
from schemas.errors import InvalidEvent, Unavailable
from schemas.http_routes import BY_NAME
from schemas.models import Weights
from schemas.predictions import Slot
from serving.engine import Engine
from serving.explained import Explainer
from serving.problems import problem_of


def test_a_stored_answer_is_taken_apart_under_the_weights_it_names(unique_database: str) -> None:
    random = np.random.default_rng(7)
    features = random.random(len(FEATURE_NAMES)).round(6).tolist()
    coef = random.random(len(FEATURE_NAMES)).tolist()
    shown = Slot(
        item_id="a", position=2, score=1.0, propensity=0.25, source="own", features=features
    )
    stored = prediction(slots=[shown], weights_version="w-2", degraded="no_model")
    fields = {
        "task": "recommend", "surface": "home", "role": "live", "model_version": "",
        "event_time_ms": 1, "feature_schema": "f", "names": list(FEATURE_NAMES), "bias": -1.0,
    }  # fmt: skip
    explainer = Explainer(unique_database, Engine)
    with connected(unique_database) as client:
        migrate(client)
        tables = Tables(client)
        tables.put(topics.PREDICTIONS, stored)
        tables.put(topics.WEIGHTS, Weights(version="w-1", coef=[0.0] * len(coef), **fields))
        tables.put(topics.WEIGHTS, Weights(version="w-2", coef=coef, **fields))
        tables.write()
        found = explainer.of("p1")
        with pytest.raises(InvalidEvent, match="no answer"):
            explainer.of("p2")
    (item,) = found.items
    features[POSITION] = 0.0
    assert (item.item_id, item.position, item.source) == ("a", 2, "own")
    assert item.propensity == 0.25
    assert item.bias == -1.0
    expected = dict(zip(FEATURE_NAMES, np.multiply(coef, features).tolist(), strict=True))
    assert item.features == pytest.approx(expected, abs=1e-6)
    assert (found.degraded, found.history) == ("no_model", ["a", "b"])
    assert found.unsaid == ["model version m1 is not loaded here any more"]


def test_no_tables_yet_is_for_later_and_not_asked_again_at_once(
    unique_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = 0.0
    explainer = Explainer(unique_database, Engine, lambda: now_s)
    asked: list[int] = []
    for moment_s in (0.0, 1.0, 60.0):
        now_s = moment_s
        with pytest.raises(Unavailable) as caught:
            explainer.of("p1")
        asked.append(len(caplog.messages))
        problem, _ = problem_of(caught.value, BY_NAME["explain"])
        assert (problem.status, problem.type) == (503, "urn:shoploop:problem:unavailable")
        told = problem.detail + problem.title
        assert not any(word in told for word in ("ClickHouse", "predictions", "127.0.0.1", "p1"))
    assert asked == [1, 1, 2]
    assert "code 60" in caplog.text  # UNKNOWN_TABLE
    assert "p1" not in caplog.text
