"""Reads served answers with the newest statement about each, for what their slots teach.

What a slot teaches is decided in `trainer/recommend/lessons.py`.
"""

from __future__ import annotations

from adapters.clickhouse import ClickHouse
from core.settings import DAY_MS, Settings
from schemas.models import Retrain
from trainer.recommend.data import Lesson
from trainer.recommend.lessons import served_lessons

NEWEST_DAYS = 90
MOST_ANSWERS = 20_000

# Answers to who withdrew consent to training are left out, as everywhere.
_SERVED = """
SELECT history, item_ids, propensities, states, kinds, closed_at_ms
FROM (
    SELECT prediction_id, served_at_ms, context_history AS history,
           slots.item_id AS item_ids, slots.propensity AS propensities
    FROM predictions
    WHERE task = {task:String} AND arm IN ('champion', 'canary', 'explore')
      AND surface != 'search' AND served_at_ms <= {until:Int64} AND served_at_ms > {since:Int64}
      AND visitor_id NOT IN (
        SELECT visitor_id FROM events
        WHERE consent_training IS NOT NULL AND event_time_ms <= {until:Int64}
        GROUP BY visitor_id HAVING NOT argMax(consent_training, (event_time_ms, event_id))
      )
    LIMIT 1 BY prediction_id
) AS served
INNER JOIN (
    SELECT prediction_id, closed_at_ms, slots.state AS states,
           arrayMap(kind -> ifNull(kind, ''), slots.kind) AS kinds
    FROM outcomes
    WHERE task = {task:String} AND age IN ('final', 'correction')
      AND closed_at_ms <= {until:Int64} AND served_at_ms > {since:Int64}
    ORDER BY version DESC
    LIMIT 1 BY prediction_id
) AS judged USING (prediction_id)
ORDER BY served_at_ms DESC, prediction_id
LIMIT {most:Int64}
"""


def read_lessons(client: ClickHouse, settings: Settings, retrain: Retrain) -> list[Lesson]:
    """What slots teach that were passed over or corrected, if any of it is to be learned.

    Raises:
        Unavailable: ClickHouse did not answer.
    """
    if not (settings.learn_passed or settings.learn_corrected):
        return []
    bounds = {
        "task": retrain.task,
        "until": retrain.data_until_ms,
        "since": retrain.data_until_ms - NEWEST_DAYS * DAY_MS,
        "most": MOST_ANSWERS,
    }
    table = client.query_arrow(_SERVED, bounds)
    return [lesson for row in table.to_pylist() for lesson in served_lessons(row)]
