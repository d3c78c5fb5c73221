"""The data card of a version: what it was trained and judged on, and that the two do not meet."""

from __future__ import annotations

from collections.abc import Sequence

from core.gate import at_most
from schemas.models import GateCheck
from trainer.recommend.data import Interaction, ShopData, sessions_of
from trainer.recommend.guards import sales_before
from trainer.recommend.holdout import HeldOut

Card = dict[str, float | int | str]


def card_of(data: ShopData, requests: Sequence[HeldOut], after_ms: int) -> Card:
    """Spans, counts, what was left out and why, and how much of the hold-out was never seen."""
    met = {item for one in data.interactions if one.at_ms <= after_ms for item in one.item_ids}
    wanted = [item for request in requests for item in request.basket]
    unknown = sum(item not in met for item in wanted)
    kinds: dict[str, int] = {}
    for one in data.interactions:
        kinds[one.kind] = kinds.get(one.kind, 0) + 1
    return {
        "from_ms": data.from_ms,
        "until_ms": data.until_ms,
        "holdout_after_ms": after_ms,
        "events": len(data.interactions),
        "visitors": len({one.visitor_id for one in data.interactions}),
        "sessions": sum(map(len, sessions_of(data.interactions).values())),
        "items": len({item for one in data.interactions for item in one.item_ids}),
        "items_listed": len(data.items),
        "items_sold_before_holdout": len(sales_before(data, after_ms)),
        "held_out_requests": len(requests),
        "held_out_unknown_share": round(unknown / max(len(wanted), 1), 6),
        "leaked_sessions": leaked(data.interactions, requests, after_ms),
        **{f"events.{kind}": n for kind, n in sorted(kinds.items())},
        **{f"not_learned.{kind}": n for kind, n in sorted(data.not_learned.items())},
        **{f"dropped.{reason}": n for reason, n in sorted(data.dropped.items())},
    }


def leaked(interactions: Sequence[Interaction], requests: Sequence[HeldOut], after_ms: int) -> int:
    """Held-out requests whose session has an event that training may see."""
    asked = {interactions[request.index].event_id for request in requests}
    found = 0
    for chain in sessions_of(interactions).values():
        for session in chain:
            seen = session[0].at_ms <= after_ms
            found += seen and any(one.event_id in asked for one in session)
    return found


def leakage_check(card: Card) -> GateCheck:
    """No session is both trained on and judged by."""
    return at_most("leaked_sessions", float(card["leaked_sessions"]), 0.0)
