"""Topic ids, by which a topic that was deleted and made again is told from the one before."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from adapters.kafka_errors import BrokerAway, passes
from adapters.kafka_security import client_options
from core.settings import Settings
from schemas.errors import Unavailable

ANSWER_WITHIN_S = 15.0
_HALF = (1 << 64) - 1


class TopicIds:
    """Asks the broker which topics there are under given names, over one kept connection."""

    def __init__(self, settings: Settings) -> None:
        self._kafka = settings.kafka
        self._admin = AdminClient({**client_options(settings), "log_level": 3})

    def __call__(self, names: Iterable[str]) -> dict[str, str]:
        """The id of each topic as 32 hexadecimal digits; topics that do not exist are left out.

        Raises:
            BrokerAway: the broker does not answer at present.
            Unavailable: it refuses to.
        """
        wanted = sorted(set(names))
        if not wanted:
            return {}
        try:
            asked = self._admin.describe_topics(
                TopicCollection(wanted), request_timeout=ANSWER_WITHIN_S
            )
            found = {name: _id(future) for name, future in asked.items()}
        except TimeoutError as error:
            raise BrokerAway(f"Kafka at {self._kafka}: topics: no answer") from error
        except KafkaException as error:
            kind = BrokerAway if passes(error.args[0]) else Unavailable
            raise kind(f"Kafka at {self._kafka}: topics: {error}") from error
        return {name: topic_id for name, topic_id in found.items() if topic_id is not None}


def _id(future: Any) -> str | None:
    try:
        found = future.result(timeout=ANSWER_WITHIN_S).topic_id
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        raise
    high = found.get_most_significant_bits() & _HALF
    return uuid.UUID(int=high << 64 | found.get_least_significant_bits() & _HALF).hex
