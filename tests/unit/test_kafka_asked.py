"""Questions to the broker are asked again while what keeps the answer passes."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from adapters.kafka_errors import asked
from schemas.errors import Unavailable


def fails_first(*codes: int) -> list[KafkaException]:
    return [KafkaException(KafkaError(code)) for code in codes]


def test_what_passes_is_waited_for() -> None:
    errors = fails_first(KafkaError._UNKNOWN_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)

    def question() -> int:
        if errors:
            raise errors.pop()
        return 7

    assert asked(question, "offsets") == 7


def test_what_lasts_or_passes_too_late_is_said() -> None:
    def question(code: int) -> None:
        raise KafkaException(KafkaError(code))

    with pytest.raises(Unavailable, match="offsets: "):
        asked(lambda: question(KafkaError.TOPIC_AUTHORIZATION_FAILED), "offsets")
    with pytest.raises(Unavailable, match="offsets: "):
        asked(lambda: question(KafkaError._TIMED_OUT), "offsets", within_s=-1.0)
