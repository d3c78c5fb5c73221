"""Reads what served searches teach: products that were chosen, and those that were passed over.

The newest title of a product stands for it. What each slot teaches is decided in
`core/search_skipped.py`; what a rule pinned teaches nothing.
"""

from __future__ import annotations

from adapters.clickhouse import ClickHouse
from core.search_skipped import taught
from schemas.predictions import PINNED_SOURCE
from trainer.corpus.examples import Example

DAY_MS = 86_400_000
NEWEST_DAYS = 90
MOST_ANSWERS = 50_000

# Answers to who withdrew consent to training are left out, as everywhere.
_SERVED = """
SELECT prediction_id, query, served_at_ms, item_ids, propensities, sources, kinds
FROM (
    SELECT prediction_id, assumeNotNull(query) AS query, served_at_ms,
           slots.item_id AS item_ids, slots.propensity AS propensities,
           slots.source AS sources
    FROM predictions
    WHERE surface = 'search' AND query != '' AND arm IN ('champion', 'canary', 'explore')
      AND served_at_ms <= {until:Int64} AND served_at_ms > {since:Int64}
      AND visitor_id NOT IN (
        SELECT visitor_id FROM events
        WHERE consent_training IS NOT NULL AND event_time_ms <= {until:Int64}
        GROUP BY visitor_id HAVING NOT argMax(consent_training, (event_time_ms, event_id))
      )
    LIMIT 1 BY prediction_id
) AS served
INNER JOIN (
    SELECT prediction_id,
           arrayMap((kind, state) -> if(state = 'retracted', 'retracted', ifNull(kind, '')),
                    slots.kind, slots.state) AS kinds
    FROM outcomes
    WHERE surface = 'search' AND age = 'final' AND closed_at_ms <= {until:Int64}
      AND served_at_ms > {since:Int64}
    LIMIT 1 BY prediction_id
) AS judged USING (prediction_id)
ORDER BY served_at_ms DESC, prediction_id
LIMIT {most:Int64}
"""
_TITLES = """
SELECT item_id, argMax(title, updated_at_ms) AS title FROM items
WHERE updated_at_ms <= {until:Int64} GROUP BY item_id
"""


def read_served(client: ClickHouse, until_ms: int) -> list[Example]:
    """Graded examples from the searches up to a time, newest answers first.

    Raises:
        Unavailable: ClickHouse did not answer.
    """
    since_ms = until_ms - NEWEST_DAYS * DAY_MS
    bounds = {"until": until_ms, "since": since_ms, "most": MOST_ANSWERS}
    titles = {
        row["item_id"]: row["title"] or ""
        for row in client.query_arrow(_TITLES, {"until": until_ms}).to_pylist()
    }
    found = []
    for row in client.query_arrow(_SERVED, bounds).to_pylist():
        kinds = [kind or None for kind in row["kinds"]]
        pinned = {
            item
            for item, source in zip(row["item_ids"], row["sources"], strict=True)
            if source == PINNED_SOURCE
        }
        for place, one in enumerate(taught(row["item_ids"], kinds, row["propensities"])):
            if titles.get(one.item_id) and one.item_id not in pinned:
                found.append(
                    Example(
                        example_id=f"{row['prediction_id']}-{place}",
                        text=row["query"],
                        pair=titles[one.item_id],
                        value=one.grade,
                        at_ms=row["served_at_ms"],
                        group=" ".join(row["query"].lower().split()),
                        weight=one.weight,
                    )
                )
    return found
