"""Dead letters read and sent again: bytes and key untouched, exactly once.

A record sent again and the note of it on `resent` are one Kafka transaction. The notes are read
after the transactional id is taken, which ends what an earlier or a rival run had begun: so no
letter goes twice, whatever was stopped when.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from adapters.clock import wall_ms
from adapters.kafka import Follower, ensure_topics, group_name, topic_name
from adapters.kafka_transactions import Transactions
from console.orders import user
from core.dead_letters import Letter, headers_again
from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder, cloud_headers, encode
from schemas.errors import Unavailable
from schemas.resent import Resent
from schemas.topics import Topic
from serving.outbox import Outgoing

READ_WITHIN_S = 60.0
SENT_WITHIN_S = 30.0
_AT_ONCE = 500
_SOURCE = "shoploop/console"


def read_letters(settings: Settings, sources: Sequence[Topic]) -> Iterator[Letter]:
    """Every dead letter of these topics, in Kafka's order within a partition.

    Raises:
        Unavailable: the broker does not answer.
    """
    of_name = {topics.refused(source).name: source.name for source in sources}
    reader = Follower(settings, [topics.refused(source) for source in sources])
    try:
        while not reader.caught_up:
            for bare, message in reader.poll(0.2):
                yield _letter(of_name[bare], message)
    finally:
        reader.close()


def _letter(topic: str, message: Any) -> Letter:
    return Letter(
        topic=topic,
        name=str(message.topic()),
        partition=int(message.partition()),
        offset=int(message.offset()),
        at_ms=int(message.timestamp()[1]),
        key=message.key(),
        value=message.value(),
        headers=list(message.headers() or []),
    )


def read_resent(settings: Settings) -> frozenset[str]:
    """The places of all letters that were sent again.

    Raises:
        Unavailable: the broker does not answer.
    """
    ensure_topics(settings, (topics.RESENT,))
    decode = Decoder(Resent)
    reader = Follower(settings, (topics.RESENT,))
    try:
        found = reader.catch_up(READ_WITHIN_S)
    finally:
        reader.close()
    notes = (decode(message.value()) for _, message in found if message.value() is not None)
    return frozenset(note.letter for note in notes)


class Sender:
    """Sends letters back to the topics that refused them; one run of it at a time goes through.

    Raises:
        Unavailable: the broker does not answer, or another run has taken over.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        ensure_topics(settings, (topics.RESENT,))
        self._until_s = time.monotonic() + SENT_WITHIN_S
        self._transactions = Transactions(
            settings,
            group_name(settings, "dlq"),
            self._over,
            linger_ms=5,
            # The largest batch has half a gigabyte: it may take as long as it is waited for.
            open_at_most_ms=int(2e3 * SENT_WITHIN_S),
        )
        self._transactions.open()
        self.resent = read_resent(settings)

    def send(self, letters: Sequence[Letter], edited: bytes | None = None) -> int:
        """Sends the letters, with `edited` instead of their bytes when given; how many went."""
        waiting, sent = iter(letters), 0
        while batch := list(islice(waiting, _AT_ONCE)):
            self._until_s = time.monotonic() + SENT_WITHIN_S
            records = [record for letter in batch for record in self._again(letter, edited)]
            try:
                self._transactions.send(records, ())
            except Unavailable as error:
                # What was begun is ended by the next run, when it takes the transactional id.
                raise Unavailable(
                    f"dead letters were not sent: {error}; this batch counts whole or not at all, "
                    "run it again"
                ) from error
            sent += len(batch)
        return sent

    def _over(self) -> bool:
        return time.monotonic() > self._until_s

    def _again(self, letter: Letter, edited: bytes | None) -> tuple[Outgoing, Outgoing]:
        """The letter's record, and the note of it."""
        value = letter.value if edited is None else edited
        source = topic_name(self._settings, topics.BY_NAME[letter.topic])
        note = Resent(
            letter=letter.place,
            topic=letter.topic,
            reason=letter.reason,
            sent_at_ms=wall_ms(),
            edited=edited is not None,
            by=user(),
        )
        headers = cloud_headers("resent", letter.place, _SOURCE)
        name = topic_name(self._settings, topics.RESENT)
        return (
            Outgoing(source, letter.key, value, headers_again(letter)),
            Outgoing(name, letter.place.encode(), encode(note), headers),
        )
