"""A list never depends on what happens later: replayed in process, with the future exchanged."""

from __future__ import annotations

import random
from itertools import takewhile

import msgspec
import numpy as np
import pytest

from core.baselines import BASELINES
from core.candidates import Ask, gather_each, ground_of
from core.features import FEATURE_NAMES
from core.ranking import RankerWeights, rank
from core.replay_plan import Entry, Happened, Offered, Planner
from core.shop_state import ShopState
from local.retail_source import entries, read_lines
from schemas.events import PurchaseMade

SURFACES = ("home", "discover")
DECEMBER_20_MS = 1_292_803_200_000
JANUARY_9_MS = 1_294_531_200_000
WEIGHTS = RankerWeights(FEATURE_NAMES, np.linspace(1.0, 0.1, len(FEATURE_NAMES)), 0.0, "fixed")


@pytest.fixture(scope="module")
def history() -> list[Entry]:
    until = takewhile(lambda line: line[0] < "2011-01-15", read_lines())
    return list(entries(until))


def lists(history: list[Entry]) -> dict[tuple[str, str], tuple[int, list[str]]]:
    """Every list of a replay by (request, policy), with the time it was asked for."""
    state, planner = ShopState(), Planner(SURFACES)
    cut = next(n for n, entry in enumerate(history) if entry.at_ms >= DECEMBER_20_MS)
    for entry in history[:cut]:
        planner.learn(entry)
        apply(state, entry)
    found = {}
    for barrier in planner.barriers(history[cut:], DECEMBER_20_MS - 1):
        for ask in barrier.asks:
            for surface, request_id in ask.request_ids.items():
                asked = Ask(ask.visitor_id, surface, ask.as_of_ms)
                ground = ground_of(state, asked)
                (candidates,) = gather_each(ground, [None])
                ranked = rank(candidates, WEIGHTS, asked.k)
                found[request_id, "loop"] = ask.as_of_ms, [slot.item_id for slot in ranked]
                for policy, baseline in BASELINES.items():
                    found[request_id, policy] = ask.as_of_ms, baseline(ground)
        for entry in barrier.entries:
            apply(state, entry)
    return found


def apply(state: ShopState, entry: Entry) -> None:
    match entry:
        case Offered(item=item):
            state.put_item(item.item_id, item.title, item.price, item.updated_at_ms)
        case Happened(event=PurchaseMade() as event):
            names = [item.item_id for item in event.items]
            state.apply(event.visitor_id, "purchase", names, event.event_time_ms)


def with_other_items(history: list[Entry], from_ms: int) -> list[Entry]:
    """The same history with the items of every later purchase drawn at random."""
    drawn = random.Random(5)
    names = sorted({entry.item.item_id for entry in history if isinstance(entry, Offered)})
    changed: list[Entry] = []
    for entry in history:
        later = entry.at_ms >= from_ms
        if later and isinstance(entry, Happened) and isinstance(entry.event, PurchaseMade):
            items = [
                msgspec.structs.replace(item, item_id=drawn.choice(names))
                for item in entry.event.items
            ]
            event = msgspec.structs.replace(entry.event, items=items)
            changed.append(Happened(entry.at_ms, event))
        else:
            changed.append(entry)
    return changed


def test_other_items_in_later_invoices_change_no_earlier_list(history):
    before = lists(history)
    after = lists(with_other_items(history, JANUARY_9_MS))
    assert before.keys() == after.keys()
    earlier = [key for key, (at_ms, _) in before.items() if at_ms < JANUARY_9_MS]
    assert len(earlier) > 500
    assert [before[key] for key in earlier] == [after[key] for key in earlier]
    assert any(before[key] != after[key] for key in before.keys() - set(earlier))
