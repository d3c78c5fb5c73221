"""Records become Arrow columns and mean the same: every record type, odd texts, huge arrays."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_samples import RECORDS, prediction, slot

from adapters.tables import OF_TOPIC, QUARANTINE, SUNK, TABLES, WATERMARKS, Table
from adapters.tables_columns import WATERMARKS as WATERMARK_TYPES
from schemas import topics
from schemas.codec import encode
from schemas.events import EventItem
from schemas.predictions import Slot
from schemas.topics import Topic
from streams.sink_arrow import arrow_batch, arrow_type, column_array, stream_of
from streams.sink_block import PACK_ROWS, Batch, Piece, Source
from streams.sink_intake import TopicIntake

TEXTS = st.text(st.characters(codec="utf-8"), max_size=50)


class Message:
    """A Kafka message as a consumer hands it out."""

    def __init__(self, value: bytes | None, offset: int = 0, **facts: Any) -> None:
        self._value, self._offset, self._facts = value, offset, facts

    def value(self) -> bytes | None:
        return self._value

    def key(self) -> bytes | None:
        return self._facts.get("key")

    def headers(self) -> Any:
        return self._facts.get("headers")

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_300_000_000_000


def read_back(stream: bytes) -> list[dict[str, Any]]:
    return pa.ipc.open_stream(stream).read_all().to_pylist()


def as_columns(topic: Topic, record: Any) -> dict[str, Any]:
    """What the row of a record has to say, taken from its plain JSON."""
    plain = msgspec.to_builtins(record)
    found = {}
    for column in OF_TOPIC[topic.name].columns:
        if column.tag:
            found[column.name] = plain[column.name]
            continue
        value: Any = record
        for step in column.path[: -1 if column.nested else None]:
            value = getattr(value, step, None)
        if column.nested:
            value = [getattr(each, column.path[-1]) for each in value or ()]
        elif value is None and column.type.startswith("Array"):
            value = []
        found[column.name] = list(value.items()) if isinstance(value, dict) else value
    return found


@pytest.mark.parametrize("topic", RECORDS, ids=lambda topic: topic.name)
def test_every_field_of_every_record_type_is_in_its_row(topic: Topic) -> None:
    records = [each for each in RECORDS[topic] if not isinstance(each, WATERMARK_TYPES)]
    columns = OF_TOPIC[topic.name].columns
    rows = read_back(stream_of([c.name for c in columns], arrow_batch(columns, records)))
    assert rows == [as_columns(topic, record) for record in records]
    for record in records:
        fields = {name.split(".")[0] for name in record.__struct_fields__}
        places = {step for column in columns for step in column.path}
        assert fields <= places


def test_every_sunk_topic_has_a_table_and_every_name_is_taken_once() -> None:
    assert {topic.name for topic in SUNK} == set(OF_TOPIC)
    assert len({table.name for table in TABLES}) == len(TABLES)
    for table in TABLES:
        names = [column.name for column in table.all_columns]
        assert len(set(names)) == len(names)
        assert set(table.order_by) <= set(names)
        nullable = {c.name for c in table.columns if "Nullable" in c.type}
        assert not nullable & set(table.order_by)


@given(st.lists(st.tuples(TEXTS, st.floats(allow_nan=False, width=32), TEXTS), max_size=30))
def test_odd_texts_and_floats_come_back_as_they_were(slots: list[tuple[str, float, str]]) -> None:
    record = prediction(
        slots=[
            Slot(item_id=item, position=number, score=score, source=source)
            for number, (item, score, source) in enumerate(slots)
        ]
    )
    columns = OF_TOPIC["predictions"].columns
    (row,) = read_back(stream_of([c.name for c in columns], arrow_batch(columns, [record])))
    assert row["slots.item_id"] == [item for item, _, _ in slots]
    assert row["slots.score"] == [score for _, score, _ in slots]
    assert row["slots.source"] == [source for _, _, source in slots]


@given(st.lists(st.lists(st.lists(st.floats(width=32, allow_nan=False), max_size=4), max_size=4)))
def test_lists_of_lists_keep_their_shape(values: list[list[list[float]]]) -> None:
    array = column_array("Array(Array(Float32))", values)
    assert array.type == arrow_type("Array(Array(Float32))")
    assert array.to_pylist() == values


def test_a_record_of_two_thousand_items_and_one_of_none_share_a_block() -> None:
    many = [EventItem(item_id=str(number), price=None) for number in range(2_000)]
    wide = prediction(considered=[slot(str(number), number) for number in range(5_000)])
    events = [msgspec.structs.replace(RECORDS[topics.EVENTS_VALID][0], items=many)]
    events.append(RECORDS[topics.EVENTS_VALID][1])
    columns = OF_TOPIC["events.valid"].columns
    rows = read_back(stream_of([c.name for c in columns], arrow_batch(columns, events)))
    assert [len(row["items.item_id"]) for row in rows] == [2_000, 0]
    columns = OF_TOPIC["predictions"].columns
    (row,) = read_back(stream_of([c.name for c in columns], arrow_batch(columns, [wide])))
    assert len(row["considered.features"]) == 5_000


def pieces(topic: Topic, *values: bytes | None, **facts: Any) -> list[tuple[Table, Piece]]:
    """What the intake makes of a partition's values."""
    intake = TopicIntake(topic, topic.full_name(), "id")
    messages = [Message(value, offset, **facts) for offset, value in enumerate(values)]
    return intake.pieces(0, messages, np.arange(len(values)))


def batch_of(found: list[tuple[Table, Piece]]) -> Batch:
    """A batch of these pieces."""
    batch = Batch({})
    for table, piece in found:
        batch.add(table, piece)
    return batch


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.none(), st.sampled_from(SUNK))
def test_no_bytes_stop_the_intake_or_the_block(value: bytes | None, topic: Topic) -> None:
    batch = batch_of(pieces(topic, value, headers=[("shoploop_reason", b"\xff")]))
    (block,) = batch.filled()
    assert len(read_back(block.stream())) == 1
    assert block.table in (OF_TOPIC[topic.name], QUARANTINE)


@given(
    st.sampled_from(list(RECORDS)),
    st.integers(min_value=-(10**25), max_value=10**25),
    TEXTS,
    st.data(),
)
def test_a_changed_field_is_a_row_or_quarantined_never_an_error(
    topic: Topic, number: int, text: str, data: st.DataObject
) -> None:
    record = msgspec.to_builtins(RECORDS[topic][0])
    name = data.draw(st.sampled_from(sorted(record)))
    record[name] = data.draw(st.sampled_from([number, text, None, [], {}, [text], 1e300, True]))
    batch = batch_of(pieces(topic, encode(record), encode(RECORDS[topic][0])))
    assert sum(len(read_back(block.stream())) for block in batch.filled()) == 2


@given(st.lists(st.sampled_from(["good", "wide", "mark", "broken", "gone"]), max_size=40))
def test_in_any_mix_every_record_lands_once_and_only_those_that_fit_in_their_table(
    mix: list[str],
) -> None:
    wide = msgspec.to_builtins(prediction())
    wide["slots"][0]["position"] = 2**63
    values = {
        "good": encode(prediction()),
        "wide": encode(wide),
        "mark": encode(RECORDS[topics.PREDICTIONS][2]),
        "broken": b"{",
        "gone": None,
    }
    if not mix:
        return
    found = {
        block.table.name: sorted(row["_offset"] for row in read_back(block.stream()))
        for block in batch_of(pieces(topics.PREDICTIONS, *(values[each] for each in mix))).filled()
    }
    wanted: dict[str, list[int]] = {}
    for offset, each in enumerate(mix):
        place = {"good": "predictions", "mark": "watermarks"}.get(each, "quarantine")
        wanted.setdefault(place, []).append(offset)
    assert found == wanted


def test_an_unstorable_record_goes_to_quarantine_first_and_the_rest_stay() -> None:
    wide = msgspec.to_builtins(prediction())
    wide["slots"][0]["position"] = 2**63
    values = (encode(prediction()), encode(wide), encode(prediction()))
    held, kept = batch_of(pieces(topics.PREDICTIONS, *values)).filled()
    assert (held.table, kept.table) == (QUARANTINE, OF_TOPIC["predictions"])
    assert [row["_offset"] for row in read_back(kept.stream())] == [0, 2]
    (quarantined,) = read_back(held.stream())
    assert (quarantined["reason"], quarantined["value"]) == ("unstorable", encode(wide))


def test_more_rows_than_are_packed_at_once_keep_their_records_and_offsets_together() -> None:
    count = 2 * PACK_ROWS + 7
    kinds = RECORDS[topics.EVENTS_VALID][:2]
    values = [
        encode(msgspec.structs.replace(kinds[number % 2], event_id=f"e{number}"))
        for number in range(count)
    ]
    batch = batch_of(pieces(topics.EVENTS_VALID, *values))
    batch.add(*pieces(topics.EVENTS_VALID, *values)[0])
    (block,) = batch.filled()
    rows = read_back(block.stream())
    assert len(rows) == block.rows == 2 * count
    assert {row["event_id"] == f"e{row['_offset']}" for row in rows} == {True}


def test_rows_that_a_table_holds_are_left_out_of_that_table_alone() -> None:
    mark = RECORDS[topics.PREDICTIONS][2]
    values = [encode(mark if offset % 2 else prediction()) for offset in range(4)]
    batch = Batch({("predictions", topics.PREDICTIONS.full_name(), 0): 2})
    for table, piece in pieces(topics.PREDICTIONS, *values):
        batch.add(table, piece)
    stored = {block.table: list(block.places().values()) for block in batch.filled()}
    assert stored == {WATERMARKS: [[1, 3]]}


def test_rows_of_a_topic_that_was_made_again_leave_before_and_after_they_are_columns() -> None:
    batch = Batch({})
    for name in ("kept", "made.again"):
        for _ in range(2):
            source = Source(name, "id", 0)
            record = RECORDS[topics.PREDICTIONS][2]
            batch.add(WATERMARKS, Piece(source, [record] * 3, np.arange(3), ()))
            if name == "made.again":
                batch.filled()
    batch.drop_topics(frozenset({"made.again"}))
    (block,) = batch.filled()
    assert block.places() == {Source("kept", "id", 0): [0, 0, 1, 1, 2, 2]}
    assert len(read_back(block.stream())) == block.rows == 6


def test_the_token_tells_blocks_apart_by_table_and_records() -> None:
    def token(table: str, *offsets: int, topic_id: str = "id", at_once: bool = True) -> str:
        batch = Batch({})
        for some in [offsets] if at_once else [[each] for each in offsets]:
            piece = Piece(Source("t", topic_id, 0), [prediction()] * len(some), np.array(some), ())
            batch.add(OF_TOPIC[table], piece)
        (block,) = batch.filled()
        return block.token()

    tokens = [
        token("predictions", 1),
        token("events.valid", 1),
        token("predictions", 1, 2),
        token("predictions", 1, topic_id="other"),
    ]
    assert len(set(tokens)) == 4
    assert token("predictions", 1) == tokens[0]
    assert token("predictions", 1, 2, at_once=False) == tokens[2]
