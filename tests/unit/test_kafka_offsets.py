"""How far a group is, asked of a broker that has just come back and does not know yet."""

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from adapters import kafka_offsets
from adapters.kafka_offsets import committed
from schemas.errors import Unavailable

PLACES = [TopicPartition("predictions", 0)]


class _Client:
    """Fails in turn, then knows."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)

    def committed(self, places: list[TopicPartition], _within_s: float) -> list[TopicPartition]:
        if self.codes:
            raise KafkaException(KafkaError(self.codes.pop(0)))
        return [TopicPartition(places[0].topic, places[0].partition, 7)]


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_offsets, "PAUSE_S", 0.0)


def test_a_coordinator_that_is_not_there_yet_is_asked_again() -> None:
    client: Any = _Client(
        KafkaError._TIMED_OUT, KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.NOT_COORDINATOR
    )
    (found,) = committed(client, PLACES, lambda: False)
    assert found.offset == 7


def test_what_does_not_pass_and_a_stop_end_the_asking() -> None:
    refused: Any = _Client(KafkaError.GROUP_AUTHORIZATION_FAILED)
    with pytest.raises(Unavailable):
        committed(refused, PLACES, lambda: False)
    away: Any = _Client(KafkaError._TIMED_OUT)
    with pytest.raises(Unavailable):
        committed(away, PLACES, lambda: True)
