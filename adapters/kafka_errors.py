"""Which errors of the broker pass by themselves."""

from confluent_kafka import KafkaError, Message

from schemas.errors import Unavailable

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


def raise_if_lasting(error: KafkaError) -> None:
    """Returns for errors that librdkafka retries by itself.

    Raises:
        Unavailable: the error does not pass by itself.
    """
    if error.retriable() or error.code() in PASSING:
        return
    raise Unavailable(f"Kafka: {error.str()}")


def is_record(message: Message) -> bool:
    """Whether it is a record, no error that librdkafka retries; raises as `raise_if_lasting`."""
    error = message.error()
    if error is None:
        return True
    raise_if_lasting(error)
    return False
