"""Alerts on a real broker: told once each in order, again after a crash, shown to operators."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from adapters.kafka import ensure_topics, producer, topic_name
from console.main import main
from core.settings import Settings
from schemas import topics
from schemas.codec import encode
from schemas.errors import Unavailable
from schemas.metrics import Alert
from streams.notify import notify_until

ALERT = Alert(
    alert_id="a1",
    name="traffic_collapsed",
    severity="page",
    state="raised",
    event_time_ms=1_300_000_000_000,
    summary="0 events in 2 h where 90 are usual",
    task="recommend",
    scope="events",
    runbook="docs/runbook.md#traffic_collapsed",
    raised_at_ms=1_300_000_000_000,
)
CLEARED = msgspec.structs.replace(ALERT, state="cleared", event_time_ms=1_300_003_600_000)


@pytest.fixture
def settings(
    kafka_address: str, unique_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    home = str(tmp_path / "home")
    monkeypatch.setenv("SHOPLOOP_KAFKA", kafka_address)
    monkeypatch.setenv("SHOPLOOP_TOPIC_PREFIX", unique_prefix)
    monkeypatch.setenv("SHOPLOOP_HOME", home)
    monkeypatch.setenv("COLUMNS", "200")
    made = Settings(
        kafka=kafka_address, topic_prefix=unique_prefix, home=home, alert_deadline_ms=60_000
    )
    ensure_topics(made)
    return made


def say(settings: Settings, *alerts: Alert) -> None:
    client = producer(settings)
    for alert in alerts:
        client.produce(topic_name(settings, topics.ALERTS), encode(alert), key=alert.alert_id)
    assert client.flush(60) == 0


class Told:
    """A channel that keeps what it is told; away for the first `away` times."""

    name = "told here"

    def __init__(self, away: int = 0) -> None:
        self.alerts: list[Alert] = []
        self._away = away

    def tell(self, alert: Alert) -> None:
        if self._away:
            self._away -= 1
            raise Unavailable("told here: away")
        self.alerts.append(alert)


class Running:
    """The notifier in a thread."""

    def __init__(self, settings: Settings, channel: Told) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=notify_until, args=(settings, [channel], self._stop), daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=60)
        assert not self._thread.is_alive()


def wait_for(happened: Callable[[], bool], within_s: float = 120.0) -> None:
    deadline = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def begun(settings: Settings, channel: Told) -> Running:
    """A notifier that has told of a first alert: its group has a place."""
    running = Running(settings, channel)
    first = msgspec.structs.replace(ALERT, alert_id="first")

    def told() -> bool:
        if not channel.alerts:
            say(settings, first)
        return bool(channel.alerts)

    wait_for(told)
    running.stop()
    channel.alerts.clear()
    return Running(settings, channel)


def without_first(channel: Told) -> list[Alert]:
    return [alert for alert in channel.alerts if alert.alert_id != "first"]


def test_alerts_are_told_in_order_and_explained_ones_are_not(settings: Settings) -> None:
    channel = Told()
    running = begun(settings, channel)
    explained = msgspec.structs.replace(ALERT, alert_id="a2", inhibited_by=["burst/visitors"])
    say(settings, ALERT, explained, CLEARED)
    wait_for(lambda: CLEARED in channel.alerts)
    running.stop()
    assert without_first(channel) == [ALERT, CLEARED]


def test_what_was_not_told_before_a_stop_is_told_after_it_and_nothing_twice(
    settings: Settings,
) -> None:
    channel = Told()
    running = begun(settings, channel)
    say(settings, ALERT)
    wait_for(lambda: ALERT in channel.alerts)
    running.stop()
    away = Told(away=10_000)
    running = Running(settings, away)
    say(settings, CLEARED)
    wait_for(lambda: away._away < 10_000)
    running.stop()
    later = Told()
    running = Running(settings, later)
    wait_for(lambda: bool(later.alerts))
    running.stop()
    assert without_first(channel) == [ALERT]
    assert later.alerts == [CLEARED]


def test_what_was_said_before_anybody_was_to_be_notified_is_not_told(settings: Settings) -> None:
    say(settings, ALERT, CLEARED)
    channel = Told()
    running = begun(settings, channel)
    running.stop()
    assert without_first(channel) == []


def test_an_operator_sees_open_alerts_first(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["alerts"]) == 0
    assert capsys.readouterr().out == "no alert yet\n"
    still = msgspec.structs.replace(ALERT, alert_id="a2", name="burst", severity="ticket")
    say(settings, ALERT, still, CLEARED)
    assert main(["alerts", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [msgspec.json.decode(line, type=Alert) for line in lines] == [still, CLEARED]
    assert main(["alerts"]) == 0
    shown = capsys.readouterr().out
    assert "docs/runbook.md#traffic_collapsed" in shown
    assert shown.index("burst") < shown.index("traffic_collapsed events")
    assert main(["alerts", "--open"]) == 0
    assert "cleared " not in capsys.readouterr().out.partition("\n")[2]
