"""Every alert there is: how urgent, how long its condition must hold, what explains it away.

A page is for what breaks the shop or the loop now and that the loop cannot mend; all else is a
ticket. `docs/runbook.md` has a section for each name.
"""

from typing import Literal

import msgspec

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One alert's rule.

    `for_ms` is how long the condition must have held before it is raised, `clear_ms` how long it
    must have been gone before it is cleared. While an alert of `inhibited_by` is open, it is on
    record but told to nobody.
    """

    severity: Literal["page", "ticket"]
    for_ms: int = 0
    clear_ms: int = 0
    inhibited_by: tuple[str, ...] = ()


_DATA = ("traffic_collapsed", "refused_jumped")
RULES: dict[str, Rule] = {
    # What explains others comes before them.
    "traffic_collapsed": Rule(severity="page"),
    "refused_jumped": Rule(severity="ticket", clear_ms=2 * HOUR_MS),
    "burst": Rule(severity="ticket", clear_ms=HOUR_MS),
    "answers_degraded": Rule(severity="page", clear_ms=HOUR_MS // 2),
    "answers_slow": Rule(severity="ticket", clear_ms=HOUR_MS // 2),
    "baskets_missing": Rule(severity="page", clear_ms=6 * HOUR_MS, inhibited_by=_DATA),
    "unattributed_jumped": Rule(severity="ticket", clear_ms=6 * HOUR_MS, inhibited_by=_DATA),
    "drifted": Rule(severity="ticket", inhibited_by=(*_DATA, "baskets_missing", "burst")),
    "quality_fell": Rule(
        severity="ticket", inhibited_by=(*_DATA, "answers_degraded", "baskets_missing", "burst")
    ),
    "training_failed": Rule(severity="ticket"),
    "training_stuck": Rule(severity="ticket"),
    "versions_refused": Rule(severity="ticket"),
    "learning_frozen": Rule(severity="ticket", for_ms=DAY_MS),
    "model_stale": Rule(severity="ticket", inhibited_by=("training_failed", "versions_refused")),
}
RUNBOOK = "docs/runbook.md"


def runbook_of(name: str, base: str = RUNBOOK) -> str:
    """Where to read what to do about an alert.

    >>> runbook_of("burst")
    'docs/runbook.md#burst'
    """
    return f"{base}#{name}"
