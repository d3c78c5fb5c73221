"""The retail protocol as lists: sessions in time order, titles, and the weeks they fall in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from core.rehearsal import PastSession
from core.retail_rules import GUESTS_FEED_STATE, Invoice, Line, sessions
from core.shop_state import ShopState

WEEK_MS = 7 * 86_400_000


def day_ms(iso_date: str) -> int:
    """Epoch milliseconds at the start of a UTC day."""
    return int(datetime.fromisoformat(iso_date).replace(tzinfo=UTC).timestamp()) * 1000


@dataclass(frozen=True)
class Session:
    """Invoices of one visitor that count as one; `new_to` is decided when it is asked about."""

    past: PastSession
    lines: tuple[Line, ...]
    is_guest: bool


def purchase_sessions(invoices: Iterable[Invoice]) -> list[Session]:
    """Purchase sessions by the time they began; guests only where the rules let them feed."""
    bought = [i for i in invoices if i.kind == "purchase"]
    if not GUESTS_FEED_STATE:
        bought = [i for i in bought if not i.is_guest]
    return [_session(chain) for chain in sessions(bought)]


def put_items(state: ShopState, session: Session) -> None:
    """Tells the state what the session's lines say of their items."""
    for line in session.lines:
        state.put_item(line.item_id, line.title, line.price, line.at_ms)


def in_batches(found: list[Session], batch_ms: int) -> Iterator[list[Session]]:
    """Sessions that are answered from one state: of one batch of event time, or one by one."""
    batch: list[Session] = []
    for session in found:
        same = batch and batch_ms and _batch(session, batch_ms) == _batch(batch[0], batch_ms)
        if batch and not same:
            yield batch
            batch = []
        batch.append(session)
    if batch:
        yield batch


def _batch(session: Session, batch_ms: int) -> int:
    return session.past.at_ms // batch_ms


def _session(chain: list[Invoice]) -> Session:
    items = tuple(dict.fromkeys(item for invoice in chain for item in invoice.item_ids))
    return Session(
        past=PastSession(chain[0].visitor_id, items, chain[0].at_ms),
        lines=tuple(line for invoice in chain for line in invoice.lines),
        is_guest=chain[0].is_guest,
    )
