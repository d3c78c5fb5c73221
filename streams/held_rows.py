"""Inputs that wait for the watermark, as one row of the store."""

import msgspec

from schemas.events import ShopEvent
from schemas.predictions import Prediction

EVENTS, PREDICTIONS = "events", "predictions"
Input = Prediction | ShopEvent
Waiting = list[tuple[int, Input]]
_pack = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode
_rows = msgspec.msgpack.Decoder(list[tuple[int, str, bytes]]).decode
_prediction = msgspec.json.Decoder(Prediction).decode
_event = msgspec.json.Decoder(ShopEvent).decode


def packed(waiting: Waiting) -> bytes:
    """The inputs as bytes, each with the time after which it is taken."""
    return _pack([(after_ms, _source(record), _json(record)) for after_ms, record in waiting])


def unpacked(value: bytes | None) -> Waiting:
    """What `packed` was given; nothing for None."""
    if value is None:
        return []
    return [
        (after_ms, _prediction(record) if source == PREDICTIONS else _event(record))
        for after_ms, source, record in _rows(value)
    ]


def place_of(record: Input) -> tuple[int, str]:
    """What orders inputs: event time, then id."""
    if isinstance(record, Prediction):
        return record.served_at_ms, record.prediction_id
    return record.event_time_ms, record.event_id


def _source(record: Input) -> str:
    return PREDICTIONS if isinstance(record, Prediction) else EVENTS
