"""`shoploop alerts`: what is open, what was, since when, and where to read what to do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence

import msgspec

from adapters.kafka import Follower
from console.orders import add_place, settings_here
from console.tables import as_text
from core.alert_text import utc
from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder
from schemas.metrics import Alert

HELP = "Show alerts: open ones first, then those that were; exit status 0 whatever there is."
READ_WITHIN_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `alerts`."""
    parser.add_argument("--open", action="store_true", help="open ones alone")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    add_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the newest statement about each alert."""
    alerts = newest_alerts(settings_here(arguments))
    if arguments.open:
        alerts = [alert for alert in alerts if alert.state == "raised"]
    if arguments.json:
        for alert in alerts:
            sys.stdout.write(msgspec.json.encode(alert).decode() + "\n")
        return 0
    if not alerts:
        print("no alert is open" if arguments.open else "no alert yet")
    else:
        print(text_of(alerts), end="")
    return 0


def newest_alerts(settings: Settings, within_s: float = READ_WITHIN_S) -> list[Alert]:
    """The newest statement about each alert: open ones, then cleared ones, newest first.

    Raises:
        Unavailable: the broker does not answer.
    """
    reader, decode = Follower(settings, (topics.ALERTS,)), Decoder(topics.ALERTS.record)
    newest: dict[str, Alert] = {}
    try:
        for _, message in reader.catch_up(within_s):
            if message.value() is not None:
                alert = decode(message.value())
                newest[alert.alert_id] = alert
    finally:
        reader.close()
    return in_order(newest.values())


def in_order(alerts: Iterable[Alert]) -> list[Alert]:
    """Open ones first, pages before tickets, newest first."""
    return sorted(
        alerts,
        key=lambda alert: (
            alert.state != "raised",
            alert.state == "raised" and alert.severity != "page",
            -alert.raised_at_ms,
            alert.name,
            alert.scope,
        ),
    )


def line_of(alerts: Sequence[Alert]) -> str:
    """The open ones in one line, for `shoploop status`."""
    told = [alert for alert in alerts if alert.state == "raised" and not alert.inhibited_by]
    if not told:
        return "no alert is open"
    names = [f"{alert.severity} {alert.name} {alert.scope}".rstrip() for alert in told]
    return f"{len(told)} open, see `shoploop alerts`: {', '.join(names)}"


def text_of(alerts: Sequence[Alert]) -> str:
    """A line for each alert."""
    rows = []
    for alert in alerts:
        explained = f" (explained by {', '.join(alert.inhibited_by)})" if alert.inhibited_by else ""
        rows.append(
            (
                "open" if alert.state == "raised" else "cleared",
                alert.severity,
                f"{alert.name} {alert.scope}".rstrip(),
                utc(alert.raised_at_ms),
                utc(alert.event_time_ms) if alert.state == "cleared" else "-",
                f"{alert.summary}{explained}; see {alert.runbook}",
            )
        )
    return as_text(("state", "severity", "alert", "raised", "cleared", "summary"), rows, None)
