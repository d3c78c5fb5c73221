"""Offsets of groups, asked for and committed while the broker may be away."""

import logging
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from adapters.kafka_errors import SUPERSEDED, passes, raise_if_lasting
from schemas.errors import Unavailable

ASKED_FOR_S = 5.0
PAUSE_S = 0.1

log = logging.getLogger(__name__)


def committed(
    client: Consumer,
    places: Sequence[TopicPartition],
    give_up: Callable[[], bool],
    unblock: Callable[[TopicPartition], None] = lambda _place: None,
) -> list[TopicPartition]:
    """How far the client's group has come in each place; it waits for transactions open on them.

    Args:
        client: a member of the group, or a client that names it.
        places: what is asked for.
        give_up: asked between tries.
        unblock: called between tries with a place; ends what holds up the answer for ever:
            `Transactions.clear` of whoever writes these offsets.

    Raises:
        Unavailable: the broker did not answer before giving up, or refuses; or as `unblock`.
    """
    if not places:
        return []
    while True:
        try:
            return list(client.committed(list(places), ASKED_FOR_S))
        except KafkaException as error:
            if give_up():
                raise Unavailable(f"offsets of {places[0].topic}: {error}") from error
            raise_if_lasting(error.args[0])
            log.info("Kafka is slow: %s", error.args[0].str())
            time.sleep(PAUSE_S)
            unblock(TopicPartition(places[0].topic, places[0].partition, 0))


def commit(client: Consumer, message: Message) -> None:
    """Notes that a record and all before it are done.

    Where the broker is away, or has given the place in the group to another, it is not noted: the
    record comes again, or is noted with a later one.

    Raises:
        Unavailable: the broker refuses.
    """
    try:
        client.commit(message=message, asynchronous=False)
    except KafkaException as error:
        cause = error.args[0]
        if cause.code() not in SUPERSEDED and not passes(cause):
            raise Unavailable(f"the offset of {message.topic()}: {error}") from error
        log.warning("an offset of %s was not committed: %s", message.topic(), cause.str())


def added(
    writer: Producer,
    read: Sequence[TopicPartition],
    group: Any,
    timeout_s: float,
    within_s: float,
) -> bool:
    """Adds offsets to the writer's transaction; False when that has not come back in time.

    While the group's coordinator is away the client may keep its caller for ever, whatever timeout
    it is given (librdkafka's issues 5456 and 5511). So a thread of its own calls, and is left alone
    with the writer when it does not come back.

    Raises:
        KafkaException: what the client raised.
    """
    outcome: SimpleQueue[KafkaException | None] = SimpleQueue()

    def run() -> None:
        try:
            writer.send_offsets_to_transaction(list(read), group, timeout_s)
        except KafkaException as error:
            outcome.put(error)
        else:
            outcome.put(None)

    Thread(target=run, name="offsets", daemon=True).start()
    try:
        error = outcome.get(timeout=within_s)
    except Empty:
        return False
    if error is not None:
        raise error
    return True
