"""Which consumer groups have members now."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from adapters.kafka_security import client_options
from core.settings import Settings
from schemas.errors import Unavailable

ANSWER_WITHIN_S = 15.0


class Groups:
    """Asks the broker over one kept connection."""

    def __init__(self, settings: Settings) -> None:
        self._kafka = settings.kafka
        self._admin = AdminClient({**client_options(settings), "log_level": 2})

    def with_members(self, wanted: Callable[[str], bool]) -> list[str]:
        """The full names of groups that are wanted and have at least one member, in order.

        Raises:
            Unavailable: the broker did not answer.
        """
        try:
            asked = self._admin.list_consumer_groups(request_timeout=ANSWER_WITHIN_S)
            listed = asked.result(timeout=ANSWER_WITHIN_S).valid
            names = sorted(each.group_id for each in listed if wanted(each.group_id))
            if not names:
                return []
            found = self._admin.describe_consumer_groups(names, request_timeout=ANSWER_WITHIN_S)
            return [name for name in names if found[name].result(timeout=ANSWER_WITHIN_S).members]
        except KafkaException as error:
            raise Unavailable(f"Kafka at {self._kafka}: groups: {error}") from error
