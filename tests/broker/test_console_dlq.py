"""Refused records are counted, shown and sent again exactly once, on a real broker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message
from streams_factory import START_MS, Shop, Worker, purchase

from adapters.kafka import Follower, ensure_topics, producer, topic_name
from console.main import main
from console.resend import SENT_WITHIN_S, Sender, read_letters
from core.dead_letters import letter_of
from core.settings import Settings
from schemas import topics
from schemas.codec import CUT_HEADER, REPLAY_HEADER, encode
from schemas.errors import InvalidEvent, Unavailable

BROKEN = b'{"event_name": "purchase"'
BINARY = b"\xff\xfe\x00"


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


class Console:
    """The command as typed, with `--json`."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Any:
        assert main(["dlq", *arguments, "--json"]) == 0
        return json.loads(self._capsys.readouterr().out)


@pytest.fixture
def dlq(capsys: pytest.CaptureFixture[str]) -> Console:
    return Console(capsys)


def written(settings: Settings, topic: topics.Topic) -> list[Message]:
    reader = Follower(settings, (topic,))
    try:
        return [message for _, message in reader.catch_up(60)]
    finally:
        reader.close()


def refuse(settings: Settings, number: int, value: bytes, reason: str) -> None:
    """A dead letter as the streams write it."""
    client = producer(settings)
    error, own = InvalidEvent(reason, f"it is {reason}"), [("ce_id", b"e%d" % number)]
    letter: Any = letter_of(b"v%d" % number, value, own, error, f"events[0]@{number}")
    name = topic_name(settings, topics.refused(topics.EVENTS))
    client.produce(name, letter.value, letter.key, headers=letter.headers)
    assert client.flush(60) == 0


def test_a_refused_event_is_mended_and_one_that_is_not_is_refused_again(
    settings: Settings, dlq: Console, tmp_path: Path
) -> None:
    good = encode(purchase("e1", "v1", START_MS, None))
    without_transaction = good.replace(b'"transaction_id":"e1",', b"")
    assert without_transaction != good
    read = (topics.EVENTS_VALID, topics.refused(topics.EVENTS))
    shop = Shop(settings, read)
    valid, letters = (shop.messages[topic.name] for topic in read)
    with Worker(settings) as worker:
        shop.send(topics.EVENTS, "v1", without_transaction)
        shop.send(topics.EVENTS, "v2", BROKEN)
        shop.read_until(lambda: len(letters) == 2)
        assert {(row["reason"], row["letters"]) for row in dlq("list")} == {
            ("missing_transaction_id", 1),
            ("malformed", 1),
        }
        (letter,) = dlq("show", "events", "--reason", "missing_transaction_id")
        assert (letter["key"], letter["value"].encode()) == ("v1", without_transaction)
        assert "transaction_id" in letter["message"]
        mended = tmp_path / "mended.json"
        mended.write_bytes(good)
        sent = dlq("replay", "events", "--reason", letter["reason"], "--from-file", str(mended))
        assert (sent["sent"], sent["letters"]) == (1, [letter["place"]])
        shop.read_until(lambda: len(valid) == 1)
        (malformed,) = dlq("show", "events", "--reason", "malformed")
        assert dlq("replay", "events", "--reason", "malformed")["sent"] == 1
        shop.read_until(lambda: len(letters) == 3)
        assert worker.stop() == 0
    shop.close()
    assert (valid[0].value(), valid[0].key()) == (good, b"v1")
    headers = dict(letters[2].headers() or [])
    assert (letters[2].value(), letters[2].key()) == (BROKEN, b"v2")
    assert headers[REPLAY_HEADER] == malformed["place"].encode()
    assert len(letters[2].headers() or []) == len(headers)


def test_a_letter_goes_once_unless_it_is_to_go_again(settings: Settings, dlq: Console) -> None:
    for number, reason in enumerate(("malformed", "future", "malformed")):
        refuse(settings, number, BINARY, reason)
    plan = dlq("replay", "events", "--reason", "malformed", "--dry-run")
    assert (plan["sent"], len(plan["letters"])) == (0, 2)
    assert written(settings, topics.EVENTS) == []
    assert dlq("replay", "events", "--reason", "malformed", "--limit", "1")["sent"] == 1
    assert dlq("replay", "events")["sent"] == 2
    again = dlq("replay", "events")
    assert (again["sent"], again["sent_before"]) == (0, 3)
    assert {(r["reason"], r["letters"], r["resent"]) for r in dlq("list", "events")} == {
        ("malformed", 2, 2),
        ("future", 1, 1),
    }
    assert dlq("replay", "events", "--offset", "1", "--again")["sent"] == 1
    events = written(settings, topics.EVENTS)
    places = sorted(dict(event.headers() or [])[REPLAY_HEADER] for event in events)
    assert [place.rpartition(b"@")[2] for place in places] == [b"0", b"1", b"1", b"2"]
    for event in events:
        assert event.value() == BINARY
        assert [name for name, _ in event.headers() or []] == ["ce_id", REPLAY_HEADER]


def test_a_letter_that_was_cut_is_sent_with_a_file_alone(
    settings: Settings, dlq: Console, tmp_path: Path
) -> None:
    refuse(settings, 0, bytes(2_000_000), "too_large")
    refuse(settings, 1, BROKEN, "malformed")
    again = dlq("replay", "events")
    assert (again["sent"], again["cut"]) == (1, 1)
    whole = tmp_path / "whole.json"
    whole.write_bytes(b"{}")
    assert dlq("replay", "events", "--offset", "0", "--from-file", str(whole))["sent"] == 1
    events = written(settings, topics.EVENTS)
    assert {event.value() for event in events} == {b"{}", BROKEN}
    assert all(CUT_HEADER not in dict(event.headers() or []) for event in events)


def test_a_run_that_was_cut_off_or_overtaken_sends_nothing_twice(
    settings: Settings, dlq: Console
) -> None:
    for number in range(3):
        refuse(settings, number, BROKEN, "malformed")
    letters = list(read_letters(settings, [topics.EVENTS]))
    cut_off = Sender(settings)
    assert cut_off._transactions._open_at_most_ms > 1e3 * SENT_WITHIN_S  # else large ones never go
    cut_off._transactions.begin([each for one in letters for each in cut_off._again(one, None)])
    cut_off._transactions._producer.flush(60)
    assert dlq("replay", "events")["sent"] == 3
    with pytest.raises(Unavailable, match="were not sent"):
        cut_off.send(letters)
    assert len(written(settings, topics.EVENTS)) == 3
    assert len(written(settings, topics.RESENT)) == 3


def test_what_is_shown_is_readable_and_mistakes_are_told(
    settings: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["dlq", "list"]) == 0
    assert "no dead letters" in capsys.readouterr().out
    refuse(settings, 0, b'{"event_name": "teleport"}', "invalid_record")
    refuse(settings, 1, BINARY, "malformed")
    assert main(["dlq", "show", "events"]) == 0
    shown = capsys.readouterr().out
    assert '  "event_name": "teleport"' in shown
    assert "3 bytes: fffe00" in shown
    assert "message: it is malformed" in shown
    assert main(["dlq", "list"]) == 0
    assert "invalid_record        1           0" in capsys.readouterr().out
    some = tmp_path / "some"
    some.write_bytes(b"{}")
    assert main(["dlq", "replay", "events", "--from-file", str(some)]) == 2
    assert "stands for one letter, 2 were chosen" in capsys.readouterr().err
    assert main(["dlq", "replay", "events", "--offset", "9"]) == 0
    assert "0 sent again to events" in capsys.readouterr().out
    assert written(settings, topics.EVENTS) == []
