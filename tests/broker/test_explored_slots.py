"""The trainer reads exploring answers with their final outcomes from a real ClickHouse."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from record_samples import outcome, prediction, purchase

from adapters.clickhouse import connected
from adapters.tables import OF_TOPIC
from adapters.tables_migrate import migrate
from core.settings import Settings
from schemas import topics
from schemas.events import EventItem, RefundMade
from schemas.models import Retrain
from schemas.outcomes import SlotLabel
from schemas.predictions import Context, Slot
from streams.sink_block import Batch, Piece, Source
from streams.sink_store import Store
from trainer.recommend.reading import EXPLORED_DAYS, read_explored, read_not_learned
from trainer.recommend.reading_served import read_lessons

NOW_MS = 1_300_000_000_000
DAY_MS = 86_400_000

RETRAIN = Retrain(
    retrain_id="r", task="recommend", state="accepted", kind="manual", reason="",
    event_time_ms=NOW_MS, data_until_ms=NOW_MS,
)  # fmt: skip


def _pair(number: int, served_ms: int, **changes: Any) -> tuple[Any, Any]:
    """An exploring answer that drew "drawn", and what came of it."""
    name, visitor = f"p{number}", f"v{number}"
    arm = changes.get("arm", "explore")
    answer = prediction(
        prediction_id=name,
        visitor_id=visitor,
        arm=arm,
        surface=changes.get("surface", "home"),
        served_at_ms=served_ms,
        context=Context(history=["old", "new"], feature_schema="f"),
        slots=[
            Slot(item_id="sure", position=1, score=1.0),
            Slot(item_id="drawn", position=2, score=0.5, propensity=0.05),
        ],
    )
    followed = outcome(
        outcome_id=f"o{number}",
        prediction_id=name,
        visitor_id=visitor,
        arm=arm,
        served_at_ms=served_ms,
        closed_at_ms=changes.get("closed_ms", served_ms + DAY_MS),
        age=changes.get("age", "final"),
        basket=changes.get("basket", ["drawn"]),
        new_basket=changes.get("new_basket", []),
    )
    return answer, followed


def test_exploring_answers_come_once_with_their_final_outcome(unique_database: str) -> None:
    then = NOW_MS - 3 * DAY_MS
    pairs = [
        _pair(1, then),
        _pair(2, then + 1, basket=["sure"]),
        _pair(3, then + 2, surface="discover", new_basket=["drawn"]),
        _pair(4, then + 3, surface="discover"),
        _pair(5, then + 4, arm="champion"),
        _pair(6, then + 5, age="1h"),
        _pair(7, then + 6, closed_ms=NOW_MS + 1),
        _pair(8, NOW_MS - (EXPLORED_DAYS + 1) * DAY_MS),
        _pair(1, then),
    ]
    batch = Batch({})
    for offset, (answer, followed) in enumerate(pairs):
        for topic, record in ((topics.PREDICTIONS, answer), (topics.OUTCOMES, followed)):
            piece = Piece(Source(topic.full_name(), "id", 0), [record], np.array([offset]), ())
            batch.add(OF_TOPIC[topic.name], piece)
    with connected(unique_database) as client:
        migrate(client)
        Store(client).write(batch.filled())
        found = read_explored(client, RETRAIN)
    assert [(one.visitor_id, one.bought) for one in found] == [
        ("v4", False),
        ("v3", True),
        ("v2", False),
        ("v1", True),
    ]
    assert {(one.item_id, round(one.propensity, 6), one.history) for one in found} == {
        ("drawn", 0.05, ("old", "new"))
    }


def test_cancellations_are_counted_once_up_to_the_end_of_the_data(unique_database: str) -> None:
    batch = Batch({})
    times = [("c1", NOW_MS - 2), ("c1", NOW_MS - 2), ("c2", NOW_MS - 1), ("c3", NOW_MS + 1)]
    records: list[Any] = [purchase(event_time_ms=NOW_MS - 3)]
    records += [
        RefundMade(
            event_id=name,
            event_time_ms=at_ms,
            visitor_id="v1",
            transaction_id="t1",
            items=[EventItem(item_id="22423", quantity=1, price=1.25)],
        )
        for name, at_ms in times
    ]
    topic = topics.EVENTS_VALID
    for offset, record in enumerate(records):
        piece = Piece(Source(topic.full_name(), "id", 0), [record], np.array([offset]), ())
        batch.add(OF_TOPIC[topic.name], piece)
    with connected(unique_database) as client:
        migrate(client)
        Store(client).write(batch.filled())
        assert read_not_learned(client, RETRAIN) == {"refund": 2}


def test_the_newest_statement_about_a_served_answer_is_what_it_teaches(
    unique_database: str,
) -> None:
    then = NOW_MS - 3 * DAY_MS
    answer, final = _pair(1, then, arm="champion")
    passed = SlotLabel(item_id="sure", position=1, state="expired_negative")
    bought = SlotLabel(item_id="drawn", position=2, state="positive", kind="purchase")
    changed = SlotLabel(item_id="drawn", position=2, state="corrected", kind="purchase")
    final = msgspec.structs.replace(final, slots=[passed, bought], version=1)
    later = msgspec.structs.replace(
        final, outcome_id="o1b", version=2, age="correction", slots=[passed, changed],
        closed_at_ms=then + 2 * DAY_MS,
    )  # fmt: skip
    batch = Batch({})
    records = [(topics.PREDICTIONS, answer), (topics.OUTCOMES, final), (topics.OUTCOMES, later)]
    for offset, (topic, record) in enumerate(records):
        piece = Piece(Source(topic.full_name(), "id", 0), [record], np.array([offset]), ())
        batch.add(OF_TOPIC[topic.name], piece)
    with connected(unique_database) as client:
        migrate(client)
        Store(client).write(batch.filled())
        found = read_lessons(client, Settings(learn_passed=1.0), RETRAIN)
        assert read_lessons(client, Settings(), RETRAIN) == []
    assert [(one.kind, one.item_id, one.good, one.at_ms - then) for one in found] == [
        ("corrected", "drawn", True, 2 * DAY_MS),
        ("passed", "sure", False, 2 * DAY_MS),
    ]
    assert {one.history for one in found} == {("old", "new")}
