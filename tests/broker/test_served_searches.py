"""The trainer reads what served searches teach from a real ClickHouse."""

from __future__ import annotations

from typing import Any

import numpy as np
from record_samples import outcome, prediction

from adapters.clickhouse import connected
from adapters.tables import OF_TOPIC
from adapters.tables_migrate import migrate
from schemas import topics
from schemas.outcomes import SlotLabel
from schemas.predictions import Slot
from streams.sink_block import Batch, Piece, Source
from streams.sink_store import Store
from trainer.search.served import read_served

NOW_MS = 1_300_000_000_000
DAY_MS = 86_400_000


def _search(number: int, kinds: list[str | None], **changes: Any) -> tuple[Any, Any]:
    """An answer to "Red  Cup" of three products, and what was done with each."""
    name, served_ms = f"p{number}", NOW_MS - 5 * DAY_MS + number
    answer = prediction(
        prediction_id=name,
        visitor_id=f"v{number}",
        arm=changes.get("arm", "champion"),
        surface=changes.get("surface", "search"),
        query="Red  Cup",
        served_at_ms=served_ms,
        slots=[
            Slot(
                item_id=f"i{i}",
                position=i + 1,
                score=1.0,
                propensity=0.5 if i else 1.0,
                source="pin" if i == changes.get("pinned") else "bm25",
            )
            for i in range(len(kinds))
        ],
    )
    followed = outcome(
        outcome_id=f"o{number}",
        prediction_id=name,
        visitor_id=f"v{number}",
        surface=changes.get("surface", "search"),
        served_at_ms=served_ms,
        closed_at_ms=served_ms + DAY_MS,
        age=changes.get("age", "final"),
        slots=[
            SlotLabel(item_id=f"i{i}", position=i + 1, kind=kind,
                      state="positive" if kind else "expired_negative")
            for i, kind in enumerate(kinds)
        ],
    )  # fmt: skip
    return answer, followed


def test_passed_over_products_come_with_the_chosen_one_and_their_weight(
    unique_database: str,
) -> None:
    pairs = [
        _search(1, [None, "purchase", None]),
        _search(2, [None, None, None]),
        _search(3, ["select_item", None, None], surface="home"),
        _search(4, ["select_item", None, None], age="1h"),
        _search(6, ["select_item", None, None], pinned=0),
        _search(5, ["select_item", None, None], arm="control"),
        _search(1, [None, "purchase", None]),
    ]
    batch = Batch({})
    for offset, (answer, followed) in enumerate(pairs):
        for topic, record in ((topics.PREDICTIONS, answer), (topics.OUTCOMES, followed)):
            piece = Piece(Source(topic.full_name(), "id", 0), [record], np.array([offset]), ())
            batch.add(OF_TOPIC[topic.name], piece)
    with connected(unique_database) as client:
        migrate(client)
        Store(client).write(batch.filled())
        client.command(
            "INSERT INTO items (item_id, title, updated_at_ms) VALUES "
            "('i0', 'old', 1), ('i0', 'Blue cup', 2), ('i1', 'Red cup', 2)"
        )
        found = read_served(client, NOW_MS)
    assert [(one.pair, one.value, one.weight) for one in found] == [
        ("Blue cup", 0.0, 1.0),
        ("Red cup", 3.0, 2.0),
    ]
    assert {(one.text, one.group) for one in found} == {("Red  Cup", "red cup")}
