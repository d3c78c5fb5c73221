"""Explanations add up: tokens to an output, features to a log-odds, events to what is lost."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from core.explain import against_mean, by_event, contributions
from core.features import FEATURE_NAMES
from core.ranking import RankerWeights
from tests.unit.text_model_factory import LABELS, corpus, fitted
from trainer.explain.report import Explained, rankers_report, write_explained
from trainer.explain.tokens import explain_text, top_tokens
from trainer.finetune.model import TextModel


@pytest.fixture(scope="module")
def model() -> TextModel:
    return fitted(corpus())


def test_tokens_add_up_to_the_difference_from_the_empty_text(model: TextModel) -> None:
    for example in corpus().test[:5]:
        found = explain_text(model, example)
        assert found.output == pytest.approx(float(model.logits([example]).max()), abs=1e-4)
        total = sum(share.adds for share in found.tokens)
        assert abs(found.gap) < 0.01 * abs(found.output - found.baseline) + 1e-3
        assert total == pytest.approx(found.output - found.baseline, abs=abs(found.gap) + 1e-6)


def test_telling_word_adds_most_to_its_label(model: TextModel) -> None:
    tops = top_tokens(model, corpus().test[:40])
    assert set(tops) == set(LABELS)
    assert all(tokens[0].token == label for label, tokens in tops.items())


def test_label_may_be_asked_for(model: TextModel) -> None:
    example = next(one for one in corpus().test if "card" in one.text.split())
    shares = {one.token: one.adds for one in explain_text(model, example, "loan").tokens}
    assert shares["card"] < 0


def test_contributions_of_a_served_slot_add_up_to_its_log_odds() -> None:
    random = np.random.default_rng(2)
    rows, coef = (
        random.normal(size=(10, len(FEATURE_NAMES))),
        random.normal(size=len(FEATURE_NAMES)),
    )
    found = [contributions(row, coef, FEATURE_NAMES, 0.5) for row in rows.tolist()]
    for one, row in zip(found, rows, strict=True):
        assert one.score == pytest.approx(0.5 + float(row @ coef))
        assert one.bias + sum(one.sources.values()) == pytest.approx(one.score)
    assert {"own", "popularity", "cooccurrence", "sequence"} <= set(found[0].sources)
    mean = contributions(rows.mean(axis=0).tolist(), coef, FEATURE_NAMES, 0.5)
    apart = against_mean(found[0], mean)
    assert sum(apart.values()) == pytest.approx(found[0].score - mean.score)


def test_event_that_the_score_rests_on_has_all_the_gain() -> None:
    def score(histories: list[list[str]]) -> np.ndarray:
        return np.array([2.0 if "tea" in one else -1.0 for one in histories])

    whole, events = by_event(["cup", "tea", "cup"], score)
    assert whole == 2.0
    assert [(one.place, one.gain) for one in events] == [(0, 0.0), (1, 3.0), (2, 0.0)]


def test_report_of_a_version_is_one_json_file(tmp_path: Path, model: TextModel) -> None:
    ranker = RankerWeights(("own", "popularity_7d"), np.array([1.0, -2.0]), 0.0, "v1")
    rows = {"home": np.array([[0.0, 0.0], [2.0, 1.0]])}
    moved = rankers_report({"home": ranker, "discover": ranker}, rows)
    assert moved["home"].sources == {"own": 1.0, "popularity": 1.0}
    assert set(moved) == {"home"}
    explained = Explained(rankers=moved, tokens=top_tokens(model, corpus().test[:3]))
    path = write_explained(explained, tmp_path)
    assert msgspec.json.decode(path.read_bytes(), type=Explained) == explained
