"""Which figures the gate is asked about, for a first version and for a successor.

What decides between candidate and champion is the log-probability of what was newly bought: a week
of a small shop tells hit rates apart to ±0.07 only, so those guard against a collapse.
"""

from __future__ import annotations

from core.gate import Compared, above_share, not_worse, reads_history
from core.surfaces import BUY_AGAIN, DISCOVER
from schemas.models import GateCheck
from trainer.recommend.evaluate import Judged

CANDIDATE, CHAMPION = "candidate", "champion"
CHAMPION_REFIT = "champion_refit"
"""The champion taken on over the candidate's own window by the usual recipe."""
LOG_PROB_MARGIN = 0.05
GUARDRAIL_MARGIN = 0.10
REFIT_MARGIN = 0.05


def offline_checks(judged: Judged, seed: int, *, is_first: bool) -> list[GateCheck]:
    """The candidate against plain popularity, and against the champion where there is one."""
    checks = [
        reads_history(
            "discover_gain_from_history",
            _gain(judged, CANDIDATE),
            None if is_first else _gain(judged, CHAMPION),
            seed,
        ),
        above_share(
            "discover_source_above_floor",
            _hits(judged, f"{CANDIDATE}.source", "popular_7d", DISCOVER),
            seed,
        ),
    ]
    if is_first:
        floor = _hits(judged, CANDIDATE, "popular_7d", "home")
        own = _hits(judged, CANDIDATE, "own_items", "home")
        return [
            *checks,
            not_worse("home_answer_vs_popular_7d", floor, seed),
            not_worse("home_answer_vs_own_items", own, seed, GUARDRAIL_MARGIN),
            *_bought_again(judged, seed),
        ]
    return [*checks, *_against_champion(judged, seed)]


def _bought_again(judged: Judged, seed: int) -> list[GateCheck]:
    """Where it is judged: what was bought most often is the rival on `buy_again`."""
    if BUY_AGAIN not in judged.surfaces:
        return []
    own = _hits(judged, CANDIDATE, "own_items", BUY_AGAIN)
    return [not_worse("buy_again_answer_vs_own_items", own, seed, GUARDRAIL_MARGIN)]


def _against_champion(judged: Judged, seed: int) -> list[GateCheck]:
    sources = f"{CANDIDATE}.source", f"{CHAMPION}.source"
    said = Compared(
        judged.log_prob[CANDIDATE, DISCOVER],
        judged.log_prob[CHAMPION, DISCOVER],
        judged.customers,
    )
    hits = _hits(judged, *sources, DISCOVER)
    checks = [
        not_worse("discover_log_prob_vs_champion", said, seed, LOG_PROB_MARGIN),
        _against_refit(judged, seed),
        not_worse("discover_source_vs_champion", hits, seed, GUARDRAIL_MARGIN),
    ]
    for surface in judged.surfaces:
        answers = _hits(judged, CANDIDATE, CHAMPION, surface)
        checks.append(not_worse(f"{surface}_answer_vs_champion", answers, seed, GUARDRAIL_MARGIN))
    return checks


def _against_refit(judged: Judged, seed: int) -> GateCheck:
    """Newer data helps any recipe: one that is new must also beat the usual one on that data."""
    name, key = "discover_log_prob_vs_champion_refit", (CHAMPION_REFIT, DISCOVER)
    if key not in judged.log_prob:
        why = "the candidate is the champion re-fit by its own recipe"
        return GateCheck(name=name, passed=True, value=0.0, threshold=-LOG_PROB_MARGIN, detail=why)
    said = Compared(judged.log_prob[CANDIDATE, DISCOVER], judged.log_prob[key], judged.customers)
    return not_worse(name, said, seed, LOG_PROB_MARGIN)


def _hits(judged: Judged, policy: str, rival: str, surface: str) -> Compared:
    return Compared(
        judged.lists[policy, surface].hit, judged.lists[rival, surface].hit, judged.customers
    )


def _gain(judged: Judged, model: str) -> Compared:
    return Compared(
        judged.log_prob[model, DISCOVER], judged.log_prob[model, "swapped"], judged.customers
    )
