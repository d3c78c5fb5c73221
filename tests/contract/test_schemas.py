"""Old and new readers agree, and what is published is what the structs say."""

import json

import jsonschema
import msgspec
import pytest

from schemas import codec, topics
from schemas.__main__ import GOLDENS
from schemas.errors import InvalidEvent
from schemas.events import EventItem, PurchaseMade
from schemas.ids import derived_id, new_id
from schemas.models import Order
from schemas.predictions import Context, Filters, Prediction, Slot
from schemas.published import golden_documents


def purchase(**changes: object) -> dict[str, object]:
    event: dict[str, object] = {
        "event_name": "purchase",
        "event_id": "e1",
        "event_time_ms": 1_300_000_000_000,
        "visitor_id": "v1",
        "transaction_id": "t1",
        "items": [{"item_id": "i1", "quantity": 2, "price": 1.5}],
    }
    return {key: value for key, value in (event | changes).items() if value is not None}


def test_published_json_schemas_match_the_structs() -> None:
    stored = {path.name: path.read_text() for path in GOLDENS.iterdir()}
    assert stored == golden_documents()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"visitor_id": None}, "visitor_id"),
        ({"visitor_id": ""}, "visitor_id"),
        ({"event_time_ms": -1}, "event_time_ms"),
        ({"event_time_ms": "yesterday"}, "event_time_ms"),
        ({"transaction_id": None}, "transaction_id"),
        ({"items": []}, "items"),
        ({"items": [{"item_id": "i1", "quantity": 0}]}, "quantity"),
        ({"items": [{"item_id": "i1", "price": -1}]}, "price"),
        ({"event_name": "teleport"}, "event_name"),
        ({"currency": "pounds"}, "currency"),
    ],
)
def test_a_bad_field_is_refused_by_reader_and_by_published_schema(
    changes: dict[str, object], field: str
) -> None:
    event = purchase(**changes)
    with pytest.raises(InvalidEvent, match=field):
        codec.Decoder(topics.EVENTS.record)(json.dumps(event).encode())
    validator = jsonschema.Draft202012Validator(
        json.loads((GOLDENS / "events.json").read_text()),
    )
    assert list(validator.iter_errors(event))


def test_a_good_purchase_passes_reader_and_published_schema() -> None:
    event = purchase()
    record = codec.Decoder(topics.EVENTS.record)(json.dumps(event).encode())
    assert isinstance(record, PurchaseMade)
    assert record.items == [EventItem(item_id="i1", quantity=2, price=1.5)]
    jsonschema.validate(event, json.loads((GOLDENS / "events.json").read_text()))


def test_a_reader_ignores_fields_that_a_newer_writer_adds() -> None:
    event = purchase(loyalty_tier="gold")
    assert codec.Decoder(topics.EVENTS.record)(json.dumps(event).encode()).event_id == "e1"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (None, "empty"),
        (b"\xff\xfe", "malformed"),
        (b"{", "malformed"),
        (b"[" * 100_000, "malformed"),
        (b" " * (codec.MAX_RECORD_BYTES + 1), "too_large"),
        (b'"\xed\xa0\x80"', "malformed"),
    ],
)
def test_bytes_that_are_no_record_get_a_reason(data: bytes | None, reason: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        codec.Decoder(topics.EVENTS.record)(data)
    assert caught.value.reason in {reason, "invalid"}


def test_every_topic_record_decodes_what_it_encodes() -> None:
    prediction = Prediction(
        prediction_id="p",
        request_id="r",
        visitor_id="v",
        task="recommend",
        surface="home",
        served_at_ms=1,
        policy="loop",
        arm="champion",
        model_version="m",
        weights_version="w",
        slots=[Slot(item_id="i", position=1, score=0.5)],
    )
    decode = codec.Decoder(topics.PREDICTIONS.record)
    assert decode(codec.encode(prediction)) == prediction
    order = Order(command_id="c", task="recommend", action="promote", event_time_ms=1)
    assert codec.Decoder(topics.COMMANDS.record)(codec.encode(order)) == order


def test_topic_names_and_partitions_are_the_blueprints() -> None:
    assert topics.EVENTS_VALID.full_name() == "shoploop.events.valid.v1"
    assert topics.refused(topics.EVENTS).full_name() == "shoploop.events.dlq.v1"
    by_visitor = [topic for topic in topics.ALL if topic.key == "visitor_id" and topic.record]
    same = {t.partitions for t in by_visitor if t.cleanup == "delete"}
    assert same == {topics.VISITOR_PARTITIONS}
    assert topics.MODELS.partitions == 1
    assert topics.MODELS.cleanup == "compact"


def test_ids_sort_by_time_and_derived_ids_repeat() -> None:
    first, second = new_id(), new_id()
    assert first[14] == "7"
    assert first[:13] <= second[:13]
    assert derived_id("a", "b") == derived_id("a", "b") != derived_id("ab")


def test_nan_never_reaches_the_wire() -> None:
    with pytest.raises(InvalidEvent, match="score"):
        codec.finite(float("nan"), "score")
    assert msgspec.json.decode(codec.encode({"a": 1.5})) == {"a": 1.5}


def test_a_band_without_a_price_is_refused_in_questions_and_read_in_former_answers() -> None:
    filters = {"price_from": 20.0, "price_to": 5.0}
    for kind, more in (
        ("recommend", {}),
        ("similar", {"item_id": "i"}),
        ("search", {"query": "q"}),
    ):
        asked = {"kind": kind, "request_id": "r", "visitor_id": "v", "filters": filters, **more}
        with pytest.raises(InvalidEvent, match="no price lies from 20 to 5"):
            codec.Decoder(topics.REQUESTS.record)(json.dumps(asked).encode())
    context = msgspec.json.decode(json.dumps({"filters": filters}).encode(), type=Context)
    assert context.filters == Filters(price_from=20.0, price_to=5.0)
