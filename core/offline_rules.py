"""The decision about a version whose answers nobody shadows: its offline gate, and against whom."""

from __future__ import annotations

from core.promotion_rules import Verdict
from schemas.models import ModelPointer, Publish


def judge_offline(offer: Publish, pointer: ModelPointer) -> Verdict:
    """Promotes a version whose gate passed against the version that is champion now.

    The gate's own check against the champion says that it is not worse; a comparison with another
    version than the present champion says nothing about this one.

    >>> from schemas.models import Gate, GateCheck
    >>> check = GateCheck(name="accuracy", passed=True, value=0.9, threshold=0.8)
    >>> offer = Publish(command_id="c", task="t", retrain_id="r", event_time_ms=0,
    ...                 model_version="b", gate=Gate(passed=True, checks=[check]))
    >>> judge_offline(offer, ModelPointer(task="t", sequence=1, event_time_ms=0, champion=None))
    Verdict(decision='promote', reason='the first version of the task', evidence={'accuracy': 0.9})
    """
    evidence = {check.name: check.value for check in offer.gate.checks}
    if pointer.champion is None:
        return Verdict("promote", "the first version of the task", evidence)
    if pointer.pinned:
        return Verdict("reject", "the champion is pinned", evidence)
    if offer.judged_against != pointer.champion:
        rival = offer.judged_against or "no champion"
        return Verdict("reject", f"judged against {rival}, not {pointer.champion}", evidence)
    return Verdict("promote", "the offline gate passed against the champion", evidence)
