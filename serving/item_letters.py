"""Records on `items` that are no items: a dead letter for each, exactly once.

Every replica passes them over when it reads the catalogue; one of them at a time, by turns of a
group, says why. Letters and how far `items` was read are one transaction; where nothing was wrong,
the place alone is committed. It changes no catalogue.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from adapters.kafka import consumer, group_name, topic_name
from adapters.kafka_errors import is_record, raise_if_lasting
from adapters.kafka_transactions import Fenced, Superseded, Transactions
from core.dead_letters import letter_of
from core.intake import typed
from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder
from schemas.errors import InvalidEvent, Unavailable
from schemas.items import Item
from serving.outbox import Outgoing

GROUP = "serving.items"
AT_ONCE = 500
LOOK_S = 0.5
NOTED_EVERY_S = 5.0

log = logging.getLogger(__name__)


class ItemLetters:
    """A member of the group `serving.items`. Used by one thread."""

    def __init__(self, settings: Settings, process: str) -> None:
        self._settings = settings
        self._id = group_name(settings, f"serving.{process}.items")
        self._topic = topic_name(settings, topics.ITEMS)
        self._refused_topic = topic_name(settings, topics.refused(topics.ITEMS))
        self._decode = Decoder(Item)
        self._consumer = self._made()
        self._member: Any = None  # as of the assignment: later it may be nobody
        self._transactions: Transactions | None = None
        self._read_to: dict[int, int] = {}
        self._noted_s = time.monotonic()
        self._stopping = threading.Event()

    def run(self, stopping: threading.Event) -> None:
        """Looks at items until stopped.

        Raises:
            Unavailable: the broker reported an error that does not pass.
        """
        self._stopping = stopping
        try:
            self._consumer.subscribe([self._topic], on_assign=self._on_assign)
            while not stopping.is_set():
                self._turn(self._consumer.consume(AT_ONCE, timeout=LOOK_S))
            self._note()
        except Unavailable as error:
            if not stopping.is_set():
                raise
            log.warning("items are looked at by the next start: %s", error)
        finally:
            if self._transactions is not None:
                self._transactions.close()
            self._consumer.close()

    def _turn(self, messages: Sequence[Message]) -> None:
        letters: list[Outgoing] = []
        for message in messages:
            if is_record(message):
                self._read_to[int(message.partition() or 0)] = int(message.offset() or 0) + 1
                letters += self._letters(message)
        if letters:
            self._send(letters)
        elif time.monotonic() - self._noted_s > NOTED_EVERY_S:
            self._note()

    def _letters(self, message: Message) -> list[Outgoing]:
        """The dead letter of a record, where it is none that can be used."""
        value = message.value()
        if value is None:  # the shop has deleted the item
            return []
        try:
            self._decode(value)
        except InvalidEvent as error:
            refused = typed(error)
            origin = f"{message.topic()}[{message.partition()}]@{message.offset()}"
            log.warning("refused %s: %s", origin, refused.reason)
            own: Any = message.headers() or []
            letter = letter_of(message.key(), value, own, refused, origin)
            return [Outgoing(self._refused_topic, *letter)]
        return []

    def _send(self, letters: Sequence[Outgoing]) -> None:
        """Commits the letters with how far was read; another member's turn leaves both to it."""
        read, self._read_to = self._places(), {}
        self._noted_s = time.monotonic()
        try:
            if self._transactions is None:
                self._transactions = Transactions(self._settings, self._id, self._stopping.is_set)
                self._transactions.open()
            self._transactions.send(letters, read, self._member)
        except Superseded as error:
            log.warning("%d letters are another replica's to write: %s", len(letters), error)
        except Fenced as error:
            assert self._transactions is not None
            self._transactions.reopen(error)
            self._begin_anew()

    def _note(self) -> None:
        """Commits how far was read; if it fails the same items are looked at again."""
        read, self._read_to = self._places(), {}
        self._noted_s = time.monotonic()
        try:
            if read:
                self._consumer.commit(offsets=read, asynchronous=True)
        except KafkaException as error:
            raise_if_lasting(error.args[0])

    def _begin_anew(self) -> None:
        """Goes back to where the broker says that items were looked at up to."""
        self._consumer.close()
        self._consumer = self._made()
        self._consumer.subscribe([self._topic], on_assign=self._on_assign)

    def _on_assign(self, client: Consumer, _places: object) -> None:
        self._member = client.consumer_group_metadata()
        self._read_to = {}  # what was not committed is read again, here or elsewhere

    def _made(self) -> Consumer:
        return consumer(self._settings, group_name(self._settings, GROUP))

    def _places(self) -> list[TopicPartition]:
        return [TopicPartition(self._topic, part, to) for part, to in self._read_to.items()]
