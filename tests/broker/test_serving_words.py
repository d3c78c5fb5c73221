"""Searches and texts on a real broker: versions by their pointers, answers on `predictions`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from serving_factory import Process, Shop, answers_of, reading, running, wall_ms

from adapters.kafka import topic_name
from core.settings import Settings
from schemas import topics
from schemas.codec import REASON_HEADER
from schemas.ids import new_id
from schemas.items import Item
from schemas.models import ModelPointer
from schemas.predictions import ClassifyRequest, SearchRequest


def _factory() -> ModuleType:
    path = Path(__file__).parents[1] / "unit" / "served_text_factory.py"
    spec = importlib.util.spec_from_file_location("served_text_factory", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["served_text_factory"] = module
    spec.loader.exec_module(module)
    return module


made = _factory()


def point(shop: Shop, task: str, champion: str) -> None:
    pointer = ModelPointer(
        task=task, sequence=1, event_time_ms=wall_ms(), champion=champion,
        announced_wall_ms=wall_ms(),
    )  # fmt: skip
    shop.write(topics.MODELS, task, pointer)
    shop.flush()


@pytest.fixture(scope="module")
def shop(kafka_address: str, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    home = tmp_path_factory.mktemp("home")
    rules = home / "rules.toml"
    rules.write_text("[[at_most]]\ncount = 1\nsurfaces = ['search']\n")
    shop = Shop(
        Settings(kafka=kafka_address, topic_prefix="words.", home=str(home), rules=str(rules))
    )
    for number in range(3):
        kite = Item(item_id=f"kite-{number}", updated_at_ms=1, title="paper kite", category="Kites")
        shop.write(topics.ITEMS, kite.item_id, kite)
    balloon = Item(item_id="balloon", updated_at_ms=1, title="paper balloon", category="Balloons")
    shop.write(topics.ITEMS, balloon.item_id, balloon)
    for colour in made.COLOURS:
        for thing in made.THINGS:
            item = Item(item_id=f"{colour}-{thing}", updated_at_ms=1, title=f"{colour} {thing}")
            shop.write(topics.ITEMS, item.item_id, item)
    shop.write(topics.ITEMS, "gone", Item(item_id="gone", updated_at_ms=1, title="red cup gone"))
    shop.producer.produce(topic_name(shop.settings, topics.ITEMS), None, b"gone")
    shop.flush()
    return shop


@pytest.fixture(scope="module")
def replica(shop: Shop) -> Iterator[Process]:
    with running(shop.settings, "--name", "serving-1") as process:
        yield process


def ask(shop: Shop, request: type, **fields: Any) -> str:
    asked = request(**{"request_id": new_id(), "visitor_id": "v"} | fields)
    shop.write(topics.REQUESTS, "v", asked)
    shop.flush()
    return str(asked.request_id)


def test_searches_and_texts_are_answered_by_words_alone_and_then_by_their_versions(
    shop: Shop, replica: Process
) -> None:
    search, classifier = made.made_search(), made.made_classifier()
    search.key = classifier.key = shop.key
    with answers_of(shop.settings) as predictions:
        first = ask(shop, SearchRequest, query="red lmap for ann@example.com", k=3)
        answer = predictions.answers([first])[first]
        assert (answer.degraded, answer.surface, answer.arm) == ("no_model", "search", "fallback")
        assert answer.query == "red lmap for <email>"
        assert answer.slots[0].item_id == "red-lamp"
        assert answer.context.corrected_query.startswith("red lamp for")

        with reading(shop.settings, topics.MODEL_LOG) as said:
            names = {one.task: one.put(shop.store) for one in (search, classifier)}
            for task, name in names.items():
                point(shop, task, name)
            said.until(lambda found: {one.model_version for one in found} >= set(names.values()))
            assert {one.kind for one in said.records} == {"swapped"}
            assert all(one.announce_to_swap_ms is not None for one in said.records)

        deleted = ask(shop, SearchRequest, query="gone", k=3)
        slots = predictions.answers([deleted])[deleted].slots
        assert "gone" not in {slot.item_id for slot in slots}
        second = ask(shop, SearchRequest, query="red lamp", k=3)
        third = ask(shop, ClassifyRequest, task="desk", text="refund my red cup")
        found = predictions.answers([second, third])
    reply = httpx.post(f"{replica.url}/v1/search", json={"visitor_id": "v", "query": "red lmap x"})
    assert reply.status_code == 200
    assert reply.json()["corrected_query"] == "red lamp x"
    assert reply.json()["items"][0]["title"] == "red lamp"
    reply = httpx.post(
        f"{replica.url}/v1/classify/desk", json={"visitor_id": "v", "text": "refund", "k": 2}
    )
    assert reply.status_code == 200
    assert len(reply.json()["labels"]) == 2
    missing = httpx.post(f"{replica.url}/v1/classify/no", json={"visitor_id": "v", "text": "red"})
    assert missing.status_code == 404
    answer = found[second]
    assert (answer.model_version, answer.arm) == (names["search"], "champion")
    assert answer.slots[0].item_id == "red-lamp"
    assert answer.slots[0].source.startswith("exact+bm25")
    assert len(answer.slots[0].features) == 7
    labelled = found[third]
    assert (labelled.task, labelled.surface, labelled.slots) == ("desk", "classify", [])
    assert (labelled.model_version, labelled.query) == (names["desk"], None)
    assert sum(one.score for one in labelled.labels) == pytest.approx(1.0, abs=1e-4)


def test_rules_and_diversity_hold_for_searches_over_http_and_kafka_alike(
    shop: Shop, replica: Process
) -> None:
    wanted = {"visitor_id": "v", "query": "paper kite -", "k": 4, "diversity": 0.5}
    reply = httpx.post(f"{replica.url}/v1/search", json=wanted | {"request_id": "arranged"})
    with answers_of(shop.settings) as predictions:
        asked = ask(shop, SearchRequest, **wanted)
        found = predictions.answers([asked, "arranged"])
    over_http = [item["item_id"] for item in reply.json()["items"]]
    assert over_http[:2] == ["kite-0", "balloon"]
    for answer in found.values():
        assert [slot.item_id for slot in answer.slots] == over_http
        assert answer.context.diversity == 0.5
        assert answer.context.rules
        assert {slot.propensity for slot in answer.slots} == {1.0}
    refused = httpx.post(f"{replica.url}/v1/search", json=wanted | {"diversity": 1.5})
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["path"] == "$.diversity"


def test_an_altered_version_and_an_unknown_task_are_refused(shop: Shop, replica: Process) -> None:
    other = made.made_classifier("other")
    other.key = shop.key
    name = other.put(shop.store)
    path = shop.store.root / "other" / name / made.HEAD
    path.write_bytes(path.read_bytes() + b" ")
    with (
        reading(shop.settings, topics.MODEL_LOG) as said,
        reading(shop.settings, topics.refused(topics.REQUESTS)) as letters,
        answers_of(shop.settings) as predictions,
    ):
        point(shop, "other", name)
        said.until(lambda found: any(one.model_version == name for one in found))
        (refused,) = [one for one in said.records if one.model_version == name]
        assert (refused.kind, refused.reason[:16]) == ("refused", "digest_mismatch:")
        asked = ask(shop, ClassifyRequest, task="other", text="red")
        assert predictions.answers([asked])[asked].degraded == "no_model"
        ask(shop, ClassifyRequest, task="unheard", text="red")
        letters.until(lambda _: bool(letters.messages))
        headers = dict(letters.messages[0].headers() or [])
        assert headers[REASON_HEADER] == b"unknown_task"
