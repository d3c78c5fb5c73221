"""Records put into the tables as the sink does, and the saved queries asked of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from record_samples import outcome, prediction, purchase

from adapters.clickhouse import ClickHouse
from adapters.tables import OF_TOPIC, SCHEMA
from console.saved import parameters, saved_query
from schemas.events import EventItem
from schemas.outcomes import SlotLabel
from schemas.predictions import Slot
from schemas.topics import Topic
from streams.sink_block import Batch, Piece, Source
from streams.sink_store import Store

START_MS = 1_298_937_600_000
DAY_MS = 86_400_000
MINUTE_MS = 60_000


class Tables:
    """Puts records into the tables as the sink does, without a broker."""

    def __init__(self, client: ClickHouse) -> None:
        self.client = client
        self._batch = Batch({})
        self._offset = 0

    def put(self, topic: Topic, *records: Any) -> None:
        for record in records:
            self._offset += 1
            source = Source(topic.full_name(), "id", 0)
            piece = Piece(source, [record], np.array([self._offset]), ())
            self._batch.add(OF_TOPIC[topic.name], piece)

    def write(self) -> None:
        """Stores what was put."""
        Store(self.client).write(self._batch.filled())
        self._batch = Batch({})

    def empty(self) -> None:
        """Takes every row away again; what was put and not written is forgotten."""
        self._batch = Batch({})
        filled = self.client.query_rows(
            "SELECT name FROM system.tables WHERE database = {name:String} AND total_rows > 0",
            {"name": self.client.database},
        )
        for (name,) in filled:
            if name != SCHEMA:
                self.client.command(f"TRUNCATE TABLE `{name}`")

    def ask(self, name: str, **values: Any) -> list[dict[str, Any]]:
        self.write()
        sql = saved_query(name)
        given = [f"{key}={value}" for key, value in values.items()]
        columns, rows = self.client.query_table(sql, parameters(sql, given))
        return [dict(zip(columns, row, strict=True)) for row in rows]


def answer(
    request_id: str, visitor_id: str, at_ms: int, listed: Sequence[str], **changes: Any
) -> Any:
    """An answer by `policy` on `surface`, its slots in the order listed."""
    fields = {"surface": "home", "policy": "loop", "session_id": None, **changes}
    slots = [
        Slot(item_id=item, position=number + 1, score=1.0) for number, item in enumerate(listed)
    ]
    return prediction(
        prediction_id=f"{request_id}/{fields['policy']}",
        request_id=request_id,
        visitor_id=visitor_id,
        served_at_ms=at_ms,
        slots=slots,
        considered=[],
        **fields,
    )


def bought(visitor_id: str, session_id: str | None, at_ms: int, *items: str) -> Any:
    return purchase(
        event_id=f"{visitor_id}/{at_ms}",
        visitor_id=visitor_id,
        session_id=session_id,
        event_time_ms=at_ms,
        items=[EventItem(item_id=item) for item in items],
    )


def label(item: str, position: int, kind: str | None = None, **changes: Any) -> SlotLabel:
    fields: dict[str, Any] = {"state": "expired_negative" if kind is None else "positive"}
    if kind is not None:
        fields |= {"kind": kind, "at_ms": START_MS + 5 * MINUTE_MS, "attributed": "token"}
    return SlotLabel(item_id=item, position=position, **{**fields, **changes})


def judged(request_id: str, slots: Sequence[SlotLabel], **changes: Any) -> Any:
    """What became of the answer `request_id` of the loop."""
    fields: dict[str, Any] = {
        "outcome_id": f"{request_id}/{changes.get('version', 1)}",
        "prediction_id": f"{request_id}/loop",
        "request_id": request_id,
        "served_at_ms": START_MS,
        "slots": list(slots),
        "basket": [each.item_id for each in slots if each.kind == "purchase"],
    }
    return outcome(**{**fields, **changes})
