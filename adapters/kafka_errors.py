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
        KafkaError._MAX_POLL_EXCEEDED,  # it has left its group, and the next poll joins again
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
    }
)

SUPERSEDED = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.FENCED_INSTANCE_ID,
    }
)
"""The group has given the input to another member, or will give it anew."""


class BrokerAway(Unavailable):
    """The broker does not answer at present: what was asked for can be asked again."""


def passes(error: KafkaError) -> bool:
    """Whether what failed can be tried again."""
    return bool(error.retriable()) or error.code() in PASSING


def raise_if_lasting(error: KafkaError) -> None:
    """Returns for errors that librdkafka retries by itself.

    Raises:
        Unavailable: the error does not pass by itself.
    """
    if not passes(error):
        raise Unavailable(f"Kafka: {error.str()}")


def asked(question: Callable[[], _Answer], what: str, within_s: float = ANSWER_WITHIN_S) -> _Answer:
    """The broker's answer, asked for again while what keeps it passes by itself.

    Raises:
        Unavailable: it did not pass in time, or does not pass.
    """
    deadline = time.monotonic() + within_s
    while True:
        try:
            return question()
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            # A partition made a moment ago may be unknown to a client that asks for it by number.
            passing = passes(reason) or reason.code() == KafkaError._UNKNOWN_PARTITION
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
