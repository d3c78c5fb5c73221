"""`shoploop drill` reads the live topic on a real broker, and writes nothing anywhere."""

from __future__ import annotations

import json

import numpy as np
import pytest

from adapters.kafka import consumer, end_offsets, ensure_topics, producer, topic_name
from console.main import main
from core.settings import Settings
from schemas import topics
from schemas.codec import encode
from schemas.outcomes import JudgedBatch
from tests.unit.stage_factory import START_MS, basket, judged


@pytest.fixture
def settings(
    kafka_address: str, unique_prefix: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    monkeypatch.setenv("SHOPLOOP_KAFKA", kafka_address)
    monkeypatch.setenv("SHOPLOOP_TOPIC_PREFIX", unique_prefix)
    monkeypatch.setenv("SHOPLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    made = Settings(kafka=kafka_address, topic_prefix=unique_prefix, home=str(tmp_path))
    ensure_topics(made)
    return made


def _served(settings: Settings, n: int) -> None:
    """A steady shop's lists and orders on the topic, ten of each a record."""
    random = np.random.default_rng(4)
    client = producer(settings)
    for begin in range(0, n, 10):
        entries = []
        for i in range(begin, begin + 10):
            at_ms = START_MS + i * 60_000
            items = [f"item-{item}" for item in random.integers(0, 40, 4).tolist()]
            entries += [judged(i, hit=bool(random.random() < 0.5), at_ms=at_ms)]
            entries += [basket(i, items, at_ms=at_ms)]  # type: ignore[list-item]
        batch = JudgedBatch(entries=entries)  # type: ignore[arg-type]
        client.produce(topic_name(settings, topics.SLOTS), key=b"recommend", value=encode(batch))
    assert client.flush(60) == 0


def _ends(settings: Settings) -> list[dict[int, int]]:
    client = consumer(settings, None)
    try:
        return [end_offsets(settings, client, topic) for topic in topics.ALL]
    finally:
        client.close()


def test_a_drill_finds_what_it_put_in_and_leaves_every_topic_as_it_was(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    _served(settings, 3_000)
    before = _ends(settings)
    assert main(["drill", "--strength", "0.6", "--json"]) == 0
    reports = json.loads(capsys.readouterr().out)
    assert [(r["kind"], r["detected"], r["first_kind"]) for r in reports] == [
        (kind, True, kind) for kind in ("concept", "label", "input")
    ]
    assert {r["false_alarms"] for r in reports} == {0}
    assert {(r["lists"], r["baskets"]) for r in reports} == {(3_000, 3_000)}
    assert _ends(settings) == before
    assert main(["drill", "--kind", "label"]) == 0
    said = capsys.readouterr().out
    assert "noticed by home/no_basket_cusum" in said
    assert "asks to hold" in said


def test_too_little_traffic_is_one_line_and_status_1(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    _served(settings, 10)
    assert main(["drill"]) == 1
    said = capsys.readouterr().err
    assert "20 final lists and baskets" in said
    assert said.count("\n") == 1


def test_shares_out_of_order_are_status_2(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drill", "--learn", "0.7", "--change-at", "0.6"]) == 2
    assert "--change-at" in capsys.readouterr().err
