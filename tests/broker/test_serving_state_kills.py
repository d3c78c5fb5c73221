"""A replica killed while events come in: afterwards its state holds every event once."""

import re
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from serving_factory import ITEMS, Process, Shop, running, wall_ms

from core.settings import Settings
from core.shop_people import meet, person_of
from core.shop_state import ShopState
from schemas import topics
from schemas.events import EventItem, PurchaseMade
from schemas.ids import new_id
from serving.checkpoint import Checkpoints
from serving.past import Reach
from serving.state_store import StateStore

LIVES, EVENTS, SHOPPERS = 2, 800, 300
LAST = [f"last-{number}" for number in range(8)]  # of every partition
_BEGAN_MS = wall_ms() - 3_600_000
_SMALL = {"SHOPLOOP_STATE_MEMORY_MB": "1"}  # a checkpoint whenever some ninety shoppers changed


def test_killed_replica_goes_on_with_every_event_once(
    kafka_address: str, unique_prefix: str, tmp_path: Path
) -> None:
    settings = Settings(kafka=kafka_address, topic_prefix=unique_prefix, home=str(tmp_path))
    shop, plain = Shop(settings), ShopState()
    random = np.random.default_rng(11)
    for _ in range(LIVES):
        with running(settings, "--name", "serving-1", extra=_SMALL) as replica:
            _buy(shop, plain, random)
            _wait_for(replica, 150)
            replica.kill()
    with running(settings, "--name", "serving-1", extra=_SMALL) as replica:
        for visitor in LAST:
            _tell(shop, plain, visitor, None, ["a"])
        shop.flush()
        _wait_for(replica, len(plain.visitors))
        assert replica.stop() == 0
    caught_up = re.search(r"caught up: (\d+) events applied", replica.log.read_text())
    assert caught_up is not None
    assert int(caught_up[1]) < LIVES * EVENTS
    with closing(StateStore(tmp_path / "serving" / "serving-1" / "state")) as store:
        kept = Checkpoints(store, settings)
        assert kept.load(Reach(settings).source) is not None
        assert _facts(kept.state) == _facts(plain)


def _buy(shop: Shop, plain: ShopState, random: np.random.Generator) -> None:
    """Purchases, also by shoppers with an account."""
    for number in range(EVENTS):
        visitor = int(random.integers(SHOPPERS))
        user = f"u{visitor}" if visitor % 5 == 0 and number % 3 == 0 else None
        items = random.choice(ITEMS, 2, replace=False).tolist()
        _tell(shop, plain, f"v{visitor}", user, items)
    shop.flush()


def _tell(shop: Shop, plain: ShopState, visitor: str, user: str | None, items: list[str]) -> None:
    """One purchase, written and told to a state in memory."""
    event = PurchaseMade(
        event_id=new_id(),
        event_time_ms=max(_BEGAN_MS, plain.seen_ms) + 700,
        visitor_id=visitor,
        user_id=user,
        transaction_id=new_id(),
        items=[EventItem(item_id=item) for item in items],
    )
    shop.write(topics.EVENTS_VALID, visitor, event)
    assert meet(plain, person_of(event))
    plain.apply(visitor, "purchase", items, event.event_time_ms)


def _wait_for(replica: Process, shoppers: int) -> None:
    """Waits until a replica knows so many."""
    deadline = time.monotonic() + 60
    while _known(replica.url) < shoppers:
        assert time.monotonic() < deadline, replica.log.read_text()


def _known(url: str) -> int:
    for line in httpx.get(f"{url}/metrics").text.splitlines():
        if line.startswith("shoploop_serving_shoppers "):
            return int(float(line.split()[1]))
    raise AssertionError("no figure of shoppers")


def _facts(state: ShopState) -> dict[str, Any]:
    """What is known, whatever the order in which items were heard of."""
    name = state.catalogue.item_ids
    size, block = state.cooccurrence.size, state.cooccurrence
    slots = [name[row] for row in state.row_of_slot[:size].tolist()]
    sums = state.popularity.window(state.seen_ms, 35)
    return {
        "seen_ms": state.seen_ms,
        "owners": dict(state.owners),
        "popularity": {item: float(sums[row]) for row, item in enumerate(name)},
        "buyers": {item: float(state.catalogue.buyers[row]) for row, item in enumerate(name)},
        "together": {
            (a, b): float(block.gram[i, j])
            for i, a in enumerate(slots)
            for j, b in enumerate(slots)
        },
        "visitors": {
            visitor: (
                [name[row] for row in history.recent],
                {
                    name[row]: column
                    for row, *column in zip(
                        history.rows.tolist(),
                        history.counts.tolist(),
                        history.last_ms.tolist(),
                        history.fading.tolist(),
                        history.last_visit.tolist(),
                        strict=True,
                    )
                },
                (history.sessions, history.gap_ms, history.taken, history.repeats),
            )
            for visitor, history in state.visitors.items()
        },
    }
