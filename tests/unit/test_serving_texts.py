"""Texts answered with labels or a number, by the version of their task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from served_text_factory import LABELS, made_classifier, made_search

from adapters.artefacts import ArtefactStore
from adapters.text_version import LabellingVersion, load_text_version
from core.settings import Settings
from schemas.errors import InvalidEvent
from schemas.predictions import ClassifyRequest, Prediction
from serving.answer import Moment
from serving.graph_breakers import GraphBreakers
from serving.text_versions import TextVersions
from serving.texts import TextDesk

MOMENT = Moment(1_000, 0.0, "serving-1")


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> LabellingVersion:
    store = ArtefactStore((tmp_path_factory.mktemp("artefacts")).as_uri())
    made = made_classifier()
    loaded = load_text_version(store, "desk", made.put(store), made.key.public_key())
    assert isinstance(loaded, LabellingVersion)
    return loaded


def desk_of(versions: dict[str, Any], **fields: Any) -> TextDesk:
    settings = Settings(home="/nowhere", **fields)
    found = TextVersions(settings, "serving-1", lambda _: None)
    found.loaded = versions
    return TextDesk(settings, found, lambda: 0.002)


def request(number: int, text: str, **fields: Any) -> ClassifyRequest:
    return ClassifyRequest(
        **{"request_id": f"r{number}", "visitor_id": "v", "task": "desk", "text": text} | fields
    )


def ask(desk: TextDesk, *texts: str, **fields: Any) -> list[Prediction]:
    batch = [request(number, text, **fields) for number, text in enumerate(texts)]
    return desk.answer(batch, MOMENT)


def test_labels_come_best_first_with_probabilities_that_add_up(version: LabellingVersion) -> None:
    desk = desk_of({"desk": version})
    (answer,) = ask(desk, "refund my red cup")
    assert (answer.surface, answer.task, answer.slots) == ("classify", "desk", [])
    assert (answer.arm, answer.model_version) == ("champion", version.version)
    assert {one.label for one in answer.labels} == set(LABELS)
    scores = [one.score for one in answer.labels]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1.0, abs=1e-5)
    # The graph divides by the temperature; nothing may do so again.
    logits = version.outputs([("refund my red cup", "")])[0].astype(float)
    expected = np.exp(logits) / np.exp(logits).sum()
    assert max(scores) == pytest.approx(expected.max(), abs=1e-5)
    assert answer.latency_ms == 2.0


def test_a_batch_says_the_same_as_each_text_alone(version: LabellingVersion) -> None:
    desk = desk_of({"desk": version})
    texts = ["card", "hello " * 200, "\x00", "🙂", "refund red blue", "<b>card</b>"]
    together = ask(desk, *texts, k=2)
    for text, answer in zip(texts, together, strict=True):
        (alone,) = ask(desk, text, k=2)
        assert [one.label for one in alone.labels] == [one.label for one in answer.labels]
        assert alone.labels[0].score == pytest.approx(answer.labels[0].score, abs=1e-4)
        assert len(answer.labels) == 2
    assert together[0].labels == together[5].labels


def test_texts_are_logged_only_when_asked_for_and_without_personal_data(
    version: LabellingVersion,
) -> None:
    text = "write to ann@example.com " + "x" * 2_000
    (quiet,) = ask(desk_of({"desk": version}), text)
    assert quiet.query is None
    (told,) = ask(desk_of({"desk": version}, log_texts=True), text, pair="or +44 20 7946 0958")
    assert told.query is not None
    assert told.query.startswith("write to <email> ")
    assert len(told.query) == 1_000


def test_a_number_comes_from_a_regression(version: LabellingVersion) -> None:
    card = msgspec.structs.replace(version.card, kind="regress", labels=[])
    (answer,) = ask(desk_of({"desk": replace(version, card=card)}), "red cup")
    assert answer.labels == []
    assert answer.value == pytest.approx(float(version.outputs([("red cup", "")])[0, 0]))


def test_a_known_task_without_a_version_says_so_and_an_unknown_one_is_refused(
    version: LabellingVersion, tmp_path: Path
) -> None:
    desk = desk_of({"desk": version}, served_tasks="desk,other")
    asked = request(1, "red", task="other")
    (answer,) = desk.answer([desk.checked(asked)], MOMENT)
    assert (answer.labels, answer.degraded, answer.arm) == ([], "no_model", "fallback")
    with pytest.raises(InvalidEvent):
        desk.checked(request(1, "red", task="nothing"))
    made, store = made_search(), ArtefactStore(tmp_path.as_uri())
    search = load_text_version(store, "search", made.put(store), made.key.public_key())
    with pytest.raises(InvalidEvent):
        desk_of({"search": search}).checked(request(1, "red", task="search"))


def test_answers_keep_the_order_of_their_requests_over_several_tasks(
    version: LabellingVersion,
) -> None:
    desk = desk_of({"desk": version, "other": version})
    batch = [request(n, "red", task="other" if n % 2 else "desk") for n in range(5)]
    answers = desk.answer(batch, MOMENT)
    assert [one.request_id for one in answers] == [one.request_id for one in batch]
    assert [one.task for one in answers] == [one.task for one in batch]


def test_a_version_that_keeps_failing_is_left_alone_and_others_are_not(
    version: LabellingVersion,
) -> None:
    class Broken:
        asked = 0

        def rows(self, *_: object, **__: object) -> Any:
            self.asked += 1
            raise ValueError("it broke")

    graph: Any = Broken()
    desk = desk_of({"desk": replace(version, graph=graph), "other": version})
    desk._breakers = GraphBreakers(clock=lambda: 0)
    for _ in range(5):
        (answer,) = ask(desk, "refund my red cup")
        assert (answer.degraded, answer.labels, answer.arm) == ("model_failed", [], "fallback")
    assert graph.asked == 3
    (other,) = ask(desk, "refund my red cup", task="other")
    assert (other.degraded, len(other.labels)) == (None, len(LABELS))
