"""Which errors of the broker pass by themselves."""

import time
from collections.abc import Callable
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException, Message

from schemas.errors import Unavailable

ANSWER_WITHIN_S = 15.0
_Answer = TypeVar("_Answer")

PASSING = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError._WAIT_COORD,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
    }
)

# A partition made a moment ago may be unknown to a client that asks for it by number.
_PASSING_FOR_QUESTIONS = PASSING | {KafkaError._UNKNOWN_PARTITION}


def raise_if_lasting(error: KafkaError) -> None:
    """Returns for errors that librdkafka retries by itself.

    Raises:
        Unavailable: the error does not pass by itself.
    """
    if error.retriable() or error.code() in PASSING:
        return
    raise Unavailable(f"Kafka: {error.str()}")


def asked(question: Callable[[], _Answer], what: str) -> _Answer:
    """The broker's answer, asked for again while what keeps it passes by itself.

    Raises:
        Unavailable: it did not pass within 15 s, or does not pass.
    """
    deadline = time.monotonic() + ANSWER_WITHIN_S
    while True:
        try:
            return question()
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            passing = reason.retriable() or reason.code() in _PASSING_FOR_QUESTIONS
            if not passing or time.monotonic() > deadline:
                raise Unavailable(f"{what}: {error}") from error
        time.sleep(0.05)


def is_record(message: Message) -> bool:
    """Whether it is a record, no error that librdkafka retries; raises as `raise_if_lasting`."""
    error = message.error()
    if error is None:
        return True
    raise_if_lasting(error)
    return False
