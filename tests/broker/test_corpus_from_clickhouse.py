"""A text task reads its examples from a real ClickHouse by its own query, without who withdrew."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from adapters.clickhouse import connected
from adapters.tables import OF_TOPIC
from adapters.tables_migrate import migrate
from core.settings import Settings
from schemas import topics
from schemas.errors import BadSettings
from schemas.events import Consent, FeedbackGiven
from schemas.items import Item
from streams.sink_block import Batch, Piece, Source
from streams.sink_store import Store
from trainer.corpus.build import build_corpus
from trainer.task import read_task

TASK = read_task(Path(__file__).parents[2] / "examples" / "tasks" / "shop_feedback.toml")
NOW_MS = 1_300_000_000_000
TITLES = {"mug": "a blue mug", "lamp": "a brass lamp", "tray": "an oak tray"}


def _said(number: int, visitor: str = "v", consent: Consent | None = None) -> FeedbackGiven:
    return FeedbackGiven(
        event_id=f"e{number}",
        event_time_ms=NOW_MS + number,
        visitor_id=f"{visitor}{number}",
        item_id=list(TITLES)[number % 3],
        verdict=(number % 5 - 2) / 2,
        surface="home",
        consent=consent,
    )


def _store(dsn: str) -> None:
    """Thirty verdicts, one of them twice, one later than all, and two without consent."""
    withdrawn = _said(31, "gone", Consent(training=False))
    before = msgspec.structs.replace(_said(5), event_id="e40", visitor_id=withdrawn.visitor_id)
    late = msgspec.structs.replace(_said(2), event_id="e50", event_time_ms=NOW_MS + 10_000)
    events = [*map(_said, range(30)), _said(3), before, withdrawn, late]
    items = [
        Item(item_id=name, title=title, price=1.0, updated_at_ms=NOW_MS - 1)
        for name, title in TITLES.items()
    ]
    batch = Batch({})
    for topic, records in ((topics.EVENTS_VALID, events), (topics.ITEMS, items)):
        for offset, record in enumerate(records):
            piece = Piece(Source(topic.full_name(), "id", 0), [record], np.array([offset]), ())
            batch.add(OF_TOPIC[topic.name], piece)
    with connected(dsn) as client:
        migrate(client)
        Store(client).write(batch.filled())


def test_the_example_query_gives_verdicts_of_those_who_consent(
    unique_database: str, tmp_path: Path
) -> None:
    _store(unique_database)
    data = msgspec.structs.replace(TASK.data, until_ms=NOW_MS + 9_999)
    task = msgspec.structs.replace(TASK, data=data)
    corpus = build_corpus(task, tmp_path, Settings(clickhouse=unique_database))
    every = [*corpus.train, *corpus.valid, *corpus.test]
    assert [one.example_id for one in every] == [f"e{number}" for number in range(30)]
    assert {one.text for one in every} == set(TITLES.values())
    assert [one.value for one in every[:5]] == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert {one.slice for one in every} == {"home"}
    card = json.loads((tmp_path / "card.json").read_bytes())
    assert card["flat"]["rows"] == 30
    assert card["time_span_ms"] == [NOW_MS, NOW_MS + 29]
    assert card["sources"][0]["until_ms"] == NOW_MS + 9_999


def test_a_row_that_says_it_has_no_consent_is_left_out_whatever_the_query(
    unique_database: str, tmp_path: Path
) -> None:
    _store(unique_database)
    query = (
        "SELECT event_id, event_time_ms, verdict, item_id AS title, surface, consent_training "
        "FROM events WHERE event_time_ms <= {until:Int64} LIMIT 1 BY event_id"
    )
    data = msgspec.structs.replace(TASK.data, query=query, until_ms=NOW_MS + 9_999)
    task = msgspec.structs.replace(TASK, data=data)
    build_corpus(task, tmp_path, Settings(clickhouse=unique_database))
    card = json.loads((tmp_path / "card.json").read_bytes())
    assert (card["rows"], card["dropped"]["consent"]) == (32, 1)


def test_a_query_that_clickhouse_refuses_or_lacks_a_column_is_the_operators_to_mend(
    unique_database: str, tmp_path: Path
) -> None:
    _store(unique_database)
    settings = Settings(clickhouse=unique_database)
    for query, said in (("SELECT nonsense", "refused"), ("SELECT 1 AS x", "no column")):
        data = msgspec.structs.replace(TASK.data, query=query)
        with pytest.raises(BadSettings, match=said):
            build_corpus(msgspec.structs.replace(TASK, data=data), tmp_path, settings)
