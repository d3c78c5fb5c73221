"""API keys as an operator makes and ends them, and the record of each admin action."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.kafka import Follower, ensure_topics
from adapters.keys_file import keys_path, read_keys
from console import audit
from console.main import main
from core.access import Granted, decide
from core.settings import Settings
from local.child import free_ports
from schemas import topics
from schemas.audit import AdminAction
from schemas.codec import Decoder, encode


@pytest.fixture
def settings(
    kafka_address: str, unique_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    home = str(tmp_path / "home")
    monkeypatch.setenv("SHOPLOOP_KAFKA", kafka_address)
    monkeypatch.setenv("SHOPLOOP_TOPIC_PREFIX", unique_prefix)
    monkeypatch.setenv("SHOPLOOP_HOME", home)
    monkeypatch.setenv("COLUMNS", "200")
    return Settings(kafka=kafka_address, topic_prefix=unique_prefix, home=home)


def actions(settings: Settings) -> list[AdminAction]:
    decode = Decoder(AdminAction)
    reader = Follower(settings, (topics.AUDIT,))
    try:
        return [decode(message.value()) for _, message in reader.catch_up(60)]
    finally:
        reader.close()


def passes(settings: Settings, text: str, scope: str = "recommend", later_ms: int = 0) -> bool:
    path = keys_path(settings)
    keys = read_keys(path).by_id
    now_ms = max(key.made_ms for key in keys.values()) + 1 + later_ms
    return isinstance(decide(text, keys, scope, now_ms), Granted)


def kept(settings: Settings) -> list[str]:
    return [path.name for path in audit.Spool(settings).waiting()]


def test_a_key_lives_and_each_step_is_on_record(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    create = ["keys", "create", "shop", "--scopes", "recommend,events", "--rate", "50"]
    assert main(create) == 0
    first = capsys.readouterr().out.strip()
    assert main(create) == 2
    assert main(["keys", "create", "other", "--scopes", "everything"]) == 2
    assert passes(settings, first)
    assert not passes(settings, first, "admin")
    assert main(["keys", "rotate", "shop", "--overlap-hours", "1"]) == 0
    capsys_out = capsys.readouterr()
    second = capsys_out.out.strip()
    assert first != second
    assert passes(settings, first)
    assert passes(settings, second, later_ms=7_200_000)
    assert not passes(settings, first, later_ms=7_200_000)
    assert main(["keys", "list", "--json"]) == 0
    listed = capsys.readouterr().out
    (shown,) = json.loads(listed)
    assert (shown["name"], shown["rate"], len(shown["secrets"])) == ("shop", 50.0, 2)
    assert "digest" not in listed
    assert main(["keys", "list"]) == 0
    assert "recommend,events" in capsys.readouterr().out
    assert main(["keys", "revoke", "shop"]) == 0
    assert read_keys(keys_path(settings)).keys == ()
    found = [(each.action, each.outcome) for each in actions(settings)]
    assert found == [
        ("keys.create", "done"),
        ("keys.create", "refused"),
        ("keys.create", "refused"),
        ("keys.rotate", "done"),
        ("keys.revoke", "done"),
    ]
    data = b"".join(encode(each) for each in actions(settings))
    for text in (first, second):
        assert text.rpartition("_")[2].encode() not in data
    assert kept(settings) == []


def test_orders_about_models_and_trainings_are_on_record(settings: Settings) -> None:
    ensure_topics(settings, (topics.COMMANDS, topics.refused(topics.EVENTS)))
    assert main(["models", "promote", "v2", "--reason", "looks right", "--wait", "0"]) == 0
    assert main(["models", "freeze", "--wait", "0"]) == 0
    assert main(["train", "recommend"]) == 0
    assert main(["dlq", "replay", "events", "--reason", "malformed"]) == 0
    assert main(["dlq", "replay", "events", "--dry-run"]) == 0
    found = [(each.action, each.target, each.detail) for each in actions(settings)]
    assert found == [
        ("models.promote", "recommend v2", "looks right"),
        ("models.freeze", "recommend", ""),
        ("train.retrain", "recommend", "asked for by an operator"),
        ("dlq.replay", "events", "0 letters; reason=malformed"),
    ]
    reader = Follower(settings, (topics.COMMANDS,))
    orders = [json.loads(message.value() or b"") for _, message in reader.catch_up(60)]
    reader.close()
    assert [order["action"] for order in orders] == ["promote", "freeze", "retrain"]


def test_records_wait_for_the_broker_and_those_of_a_killed_command_too(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (nobody,) = free_ports(1)
    monkeypatch.setattr(audit, "SENT_WITHIN_S", 0.1)
    with monkeypatch.context() as away:
        away.setenv("SHOPLOOP_KAFKA", f"127.0.0.1:{nobody}")
        assert main(["keys", "create", "shop", "--scopes", "events"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("sl_")
    assert "1 audit record kept in" in said.err
    assert len(kept(settings)) == 1
    _leave_begun(settings, _dead_pid(), "killed")
    _leave_begun(settings, os.getpid(), "running")
    monkeypatch.setattr(audit, "SENT_WITHIN_S", 60.0)
    assert main(["keys", "revoke", "shop"]) == 0
    found = {(each.action, each.outcome) for each in actions(settings)}
    assert found == {("keys.create", "done"), ("killed", "unknown"), ("keys.revoke", "done")}
    assert kept(settings) == []


def test_nothing_is_done_that_cannot_be_put_on_record(settings: Settings) -> None:
    Path(settings.home).mkdir()
    (Path(settings.home) / "audit").write_text("a file where the folder should be")
    assert main(["keys", "create", "shop", "--scopes", "events"]) == 2
    assert not keys_path(settings).exists()


def _leave_begun(settings: Settings, pid: int, action: str) -> None:
    record = AdminAction(
        audit_id=f"{action}-1",
        event_time_ms=1,
        actor="me",
        action=action,
        target="x",
        outcome="unknown",
    )
    path = audit.Spool(settings).folder / f"{record.audit_id}.{pid}.begun"
    path.write_bytes(encode(record))


def _dead_pid() -> int:
    child: subprocess.Popen[Any] = subprocess.Popen([sys.executable, "-c", ""])
    child.wait(60)
    return child.pid


def test_a_file_of_another_form_is_kept_and_said(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = audit.Spool(settings).folder
    folder.mkdir(parents=True)
    (folder / "odd.json").write_bytes(msgspec.json.encode({"x": 1}))
    assert main(["keys", "create", "shop", "--scopes", "events"]) == 0
    assert "odd.json" in capsys.readouterr().err
    assert (folder / "odd.json").exists()
    assert [each.action for each in actions(settings)] == ["keys.create"]
