"""How far the broker is, asked of one that has just come back and does not know yet."""

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from core.settings import Settings
from schemas.errors import Unavailable
from serving.ledger import Ledger


class _Client:
    """Fails in turn, then knows."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)

    def committed(self, places: list[TopicPartition], _within_s: float) -> list[TopicPartition]:
        if self.codes:
            raise KafkaException(KafkaError(self.codes.pop(0)))
        return [TopicPartition(places[0].topic, places[0].partition, 7)]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Settings(home=str(tmp_path), kafka="127.0.0.1:9"), "serving-1")


def test_a_coordinator_that_is_not_there_yet_is_asked_again(ledger: Ledger) -> None:
    client: Any = _Client(
        KafkaError._TIMED_OUT, KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.NOT_COORDINATOR
    )
    assert ledger._far(client) == 7


def test_what_does_not_pass_and_a_stop_end_the_asking(ledger: Ledger) -> None:
    refused: Any = _Client(KafkaError.GROUP_AUTHORIZATION_FAILED)
    with pytest.raises(Unavailable):
        ledger._far(refused)
    ledger.finish(within_s=-1.0)
    away: Any = _Client(KafkaError._TIMED_OUT)
    with pytest.raises(Unavailable):
        ledger._far(away)
