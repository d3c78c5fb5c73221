"""What an operator types about models reaches the decider, and what happened is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.kafka import Follower, ensure_topics, producer, topic_name
from console.main import main
from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder, encode
from schemas.models import Gate, GateCheck, ModelLog, Order


@pytest.fixture
def settings(
    kafka_address: str, unique_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    home = str(tmp_path / "home")
    monkeypatch.setenv("SHOPLOOP_KAFKA", kafka_address)
    monkeypatch.setenv("SHOPLOOP_TOPIC_PREFIX", unique_prefix)
    monkeypatch.setenv("SHOPLOOP_HOME", home)
    monkeypatch.setenv("COLUMNS", "200")
    made = Settings(kafka=kafka_address, topic_prefix=unique_prefix, home=home)
    ensure_topics(made)
    return made


def orders(settings: Settings) -> list[Order]:
    decode = Decoder(topics.COMMANDS.record)
    reader = Follower(settings, (topics.COMMANDS,))
    try:
        return [decode(message.value()) for _, message in reader.catch_up(60)]
    finally:
        reader.close()


def test_orders_reach_the_topic_of_commands(settings: Settings) -> None:
    assert main(["models", "promote", "v2", "--reason", "looks right", "--wait", "0"]) == 0
    assert main(["models", "rollback", "--wait", "0"]) == 0
    assert main(["models", "pin", "--wait", "0"]) == 0
    assert main(["train", "recommend"]) == 0
    found = orders(settings)
    assert [order.action for order in found] == ["promote", "rollback", "pin", "retrain"]
    assert (found[0].model_version, found[0].reason) == ("v2", "looks right")
    assert {order.task for order in found} == {"recommend"}
    assert len({order.command_id for order in found}) == 4


def test_promoting_needs_a_version(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "promote"]) == 2
    assert "needs a VERSION" in capsys.readouterr().err
    assert orders(settings) == []


def test_history_shows_what_happened_and_why(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    check = GateCheck(name="x", passed=True, value=1.0, threshold=0.0)
    entry = ModelLog(
        log_id="l1",
        task="recommend",
        model_version="20110301-aa",
        kind="promoted",
        event_time_ms=1_300_000_000_000,
        reason="first version",
        evidence={"hr@10": 0.5},
        gate=Gate(passed=True, checks=[check]),
    )
    client = producer(settings)
    client.produce(topic_name(settings, topics.MODEL_LOG), encode(entry), b"recommend")
    assert client.flush(60) == 0
    assert main(["models", "history"]) == 0
    shown = capsys.readouterr().out
    assert "2011-03-13 07:06  20110301-aa  promoted  first version" in shown
    assert "hr@10 0.5, 1 of 1 checks passed" in shown


def test_listing_an_empty_store_shows_no_version(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "list"]) == 0
    assert "version" in capsys.readouterr().out
