"""A broker that has just begun is asked again for its groups; any other error is told at once."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from console.lag import COORDINATING, once_coordinated


class Broker:
    """Answers with each error in turn, then with a figure."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)

    def ask(self) -> int:
        if self.codes:
            raise KafkaException(KafkaError(self.codes.pop(0)))
        return 7


def test_groups_that_are_still_being_read_are_waited_for() -> None:
    assert once_coordinated(Broker(*COORDINATING).ask) == 7


def test_they_are_not_waited_for_without_end() -> None:
    broker = Broker(*[COORDINATING[0]] * 3)
    with pytest.raises(KafkaException):
        once_coordinated(broker.ask, within_s=-1.0)
    assert len(broker.codes) == 2


def test_another_error_is_told_at_once() -> None:
    broker = Broker(KafkaError.GROUP_AUTHORIZATION_FAILED, COORDINATING[0])
    with pytest.raises(KafkaException):
        once_coordinated(broker.ask)
    assert len(broker.codes) == 1
