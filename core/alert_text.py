"""An alert as people and programs are told of it: a subject, a text, a key that tells a repeat."""

from datetime import UTC, datetime

from schemas.metrics import Alert


def is_told(alert: Alert) -> bool:
    """Whether anybody is told: not while another open alert explains it."""
    return not alert.inhibited_by


def key_of(alert: Alert) -> str:
    """The same for every delivery of the same news.

    >>> key_of(Alert(alert_id="a", name="burst", severity="ticket", state="raised",
    ...              event_time_ms=1, summary=""))
    'a/raised'
    """
    return f"{alert.alert_id}/{alert.state}"


def subject_of(alert: Alert) -> str:
    """One line: how urgent, what, about what, and whether it is over.

    >>> subject_of(Alert(alert_id="a", name="answers_slow", severity="ticket", state="cleared",
    ...                  event_time_ms=1, summary="", task="recommend", scope="home"))
    '[shoploop ticket] cleared: answers_slow home (recommend)'
    """
    about = " ".join(part for part in (alert.name, alert.scope) if part)
    task = f" ({alert.task})" if alert.task else ""
    return f"[shoploop {alert.severity}] {alert.state}: {about}{task}"


def text_of(alert: Alert) -> str:
    """Summary, times, figures and where to read on, in plain lines.

    >>> print(text_of(Alert(alert_id="a", name="burst", severity="ticket", state="cleared",
    ...                     event_time_ms=3_600_000, summary="too fast", evidence={"visitors": 2.0},
    ...                     runbook="docs/runbook.md#burst", raised_at_ms=0)))
    too fast
    raised:  1970-01-01 00:00:00 UTC
    cleared: 1970-01-01 01:00:00 UTC
    visitors: 2
    runbook: docs/runbook.md#burst
    alert: a
    """
    lines = [alert.summary, f"raised:  {utc(alert.raised_at_ms)}"]
    if alert.state == "cleared":
        lines.append(f"cleared: {utc(alert.event_time_ms)}")
    lines += [f"{name}: {value:g}" for name, value in sorted(alert.evidence.items())]
    return "\n".join([*lines, f"runbook: {alert.runbook}", f"alert: {alert.alert_id}"])


def utc(at_ms: int) -> str:
    """Event time as people read it.

    >>> utc(1_300_000_000_000)
    '2011-03-13 07:06:40 UTC'
    """
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
