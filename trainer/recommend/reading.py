"""Reads training data from ClickHouse by SQL, once the sink has stored what a retrain names.

It decides nothing: cleaning is in `trainer/recommend/data.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from adapters.clickhouse import ClickHouse, connected, dsn_of
from adapters.tables_migrate import migrate
from adapters.tables_progress import wait_sunk
from core.settings import Settings
from core.shop_state import KIND_WEIGHT
from schemas.models import Retrain
from schemas.topics import EVENTS_VALID
from trainer.recommend.data import CatalogueRow, ExploredSlot, Interaction, ShopData, clean
from trainer.recommend.holdout import DAY_MS, HOLDOUT_DAYS
from trainer.recommend.lessons import explored_lessons
from trainer.recommend.reading_served import read_lessons

SINK_DEADLINE_S = 60.0
EXPLORED_DAYS = max(HOLDOUT_DAYS)
MOST_EXPLORED = 5_000
_log = logging.getLogger(__name__)

_EVENTS = """
SELECT event_time_ms, event_id, event_name, visitor_id, ifNull(session_id, '') AS session_id,
       `items.item_id` AS item_ids
FROM events
WHERE event_name IN {kinds:Array(String)} AND event_time_ms <= {until:Int64} AND ({within})
  AND ifNull(consent_training, true) AND visitor_id NOT IN (
    SELECT visitor_id FROM events
    WHERE consent_training IS NOT NULL AND event_time_ms <= {until:Int64} AND ({within})
    GROUP BY visitor_id HAVING NOT argMax(consent_training, (event_time_ms, event_id))
  )
"""
_NOT_LEARNED = """
SELECT event_name AS kind, uniqExact(event_id) AS events FROM events
WHERE event_name NOT IN {kinds:Array(String)} AND event_time_ms <= {until:Int64} AND ({within})
GROUP BY kind
"""
# Left out of _EVENTS are events without consent to training, and all events of who has withdrawn.

_ITEMS = """
SELECT item_id, title, price, updated_at_ms AS at_ms
FROM items WHERE updated_at_ms <= {until:Int64} ORDER BY updated_at_ms, item_id
"""

# The newest answers alone: they are held out from the fit, and many are not needed.
_EXPLORED = """
SELECT served_at_ms, visitor_id, surface, history, item_id, propensity, closed_at_ms,
       has(if(surface = 'discover', new_basket, basket), item_id) AS bought
FROM (
    SELECT prediction_id, served_at_ms, visitor_id, surface, context_history AS history,
           arrayFirst((item, chance) -> chance < 1, slots.item_id, slots.propensity) AS item_id,
           arrayFirst(chance -> chance < 1, slots.propensity) AS propensity
    FROM predictions
    WHERE task = {task:String} AND arm = 'explore' AND served_at_ms <= {until:Int64}
          AND served_at_ms > {since:Int64} AND arrayExists(chance -> chance < 1, slots.propensity)
    LIMIT 1 BY prediction_id
) AS drawn
INNER JOIN (
    SELECT prediction_id, basket, new_basket, closed_at_ms FROM outcomes
    WHERE task = {task:String} AND age = 'final' AND arm = 'explore'
          AND closed_at_ms <= {until:Int64} AND served_at_ms > {since:Int64}
    LIMIT 1 BY prediction_id
) AS judged USING (prediction_id)
ORDER BY served_at_ms DESC, prediction_id
LIMIT {most:Int64}
"""


def read_shop(settings: Settings, retrain: Retrain) -> ShopData:
    """What the retrain may be trained on: up to its event time and, where named, its offsets.

    Raises:
        Unavailable: the sink did not pass the offsets in time, or ClickHouse did not answer.
    """
    with connected(dsn_of(settings)) as client:
        migrate(client)  # a sink that has not started yet has made no tables to wait by
        wait_sunk(client, retrain.offsets, settings.topic_prefix, within_s=SINK_DEADLINE_S)
        interactions = _interactions(client, retrain)
        items = _items(client, retrain)
        explored = read_explored(client, retrain)
        not_learned = read_not_learned(client, retrain)
        lessons = read_lessons(client, settings, retrain)
    data = clean(interactions, items, retrain.data_until_ms, rows=len(interactions))
    _log.info(
        "read %d events and %d items, left out %s", len(interactions), len(items), data.dropped
    )
    lessons += explored_lessons(explored)
    return replace(data, explored=explored, not_learned=not_learned, lessons=lessons)


def read_explored(client: ClickHouse, retrain: Retrain) -> list[ExploredSlot]:
    """The newest exploring answers whose labels were final at the end of the data, newest first."""
    table = client.query_arrow(
        _EXPLORED,
        {
            "task": retrain.task,
            "until": retrain.data_until_ms,
            "since": retrain.data_until_ms - EXPLORED_DAYS * DAY_MS,
            "most": MOST_EXPLORED,
        },
    )
    return [
        ExploredSlot(
            row["served_at_ms"],
            row["visitor_id"],
            row["surface"],
            tuple(row["history"]),
            row["item_id"],
            float(row["propensity"]),
            bool(row["bought"]),
            row["closed_at_ms"],
        )
        for row in table.to_pylist()
    ]


def read_not_learned(client: ClickHouse, retrain: Retrain) -> dict[str, int]:
    """How many events there are of each kind that counts nothing, such as cancellations."""
    query = _NOT_LEARNED.replace("{within}", _within(retrain))
    table = client.query_arrow(query, {"kinds": _kinds(), "until": retrain.data_until_ms})
    return {row["kind"]: int(row["events"]) for row in table.to_pylist()}


def _interactions(client: ClickHouse, retrain: Retrain) -> list[Interaction]:
    parameters: dict[str, Any] = {"kinds": _kinds(), "until": retrain.data_until_ms}
    table = client.query_arrow(_EVENTS.replace("{within}", _within(retrain)), parameters)
    columns = [table.column(name).to_pylist() for name in _EVENT_COLUMNS]
    return [
        Interaction(at_ms, event_id, kind, visitor_id, tuple(dict.fromkeys(item_ids)), session_id)
        for at_ms, event_id, kind, visitor_id, session_id, item_ids in zip(*columns, strict=True)
    ]


_EVENT_COLUMNS = ("event_time_ms", "event_id", "event_name", "visitor_id", "session_id", "item_ids")


def _items(client: ClickHouse, retrain: Retrain) -> list[CatalogueRow]:
    table = client.query_arrow(_ITEMS, {"until": retrain.data_until_ms})
    columns = [table.column(name).to_pylist() for name in ("item_id", "title", "price", "at_ms")]
    return [CatalogueRow(*row) for row in zip(*columns, strict=True)]


def _kinds() -> list[str]:
    return sorted(kind for kind, weight in KIND_WEIGHT.items() if weight > 0)


def _within(retrain: Retrain) -> str:
    """The SQL condition that keeps to the offsets a retrain names."""
    bounds = sorted(_bounds(retrain.offsets).items())
    return " OR ".join(f"(_partition = {p} AND _offset < {o})" for p, o in bounds) or "1"


def _bounds(offsets: Mapping[str, int]) -> dict[int, int]:
    """Next offset by partition of the topic that fills the table `events`.

    A partition that a retrain does not name holds nothing it may see.
    """
    found = {}
    for place, offset in offsets.items():
        topic, _, partition = place.rpartition("/")
        if topic == EVENTS_VALID.name or topic.endswith(EVENTS_VALID.full_name("")):
            found[int(partition)] = int(offset)
    return found
