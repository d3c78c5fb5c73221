"""Records on their way to Kafka, and whether the broker has acknowledged them.

One producer for a whole process, one thread that collects acknowledgements; senders wait on their
own batch alone.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaError, Message

from adapters.kafka import producer
from core.settings import Settings
from schemas.errors import Unavailable

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True)
class Outgoing:
    """One record to be written; its key places it unless a partition is named."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


class Delivery:
    """The acknowledgements of one batch."""

    def __init__(self, expected: int) -> None:
        self._open = expected
        self._error: str | None = None
        self._done = threading.Event()
        self._lock = threading.Lock()
        if expected == 0:
            self._done.set()

    @property
    def done(self) -> bool:
        """Whether every record is acknowledged or refused."""
        return self._done.is_set()

    def done_within(self, timeout_s: float) -> bool:
        """Whether it is done, waiting a while for it."""
        return self._done.wait(timeout_s)

    def wait(self, timeout_s: float) -> None:
        """Returns once the broker has every record.

        Raises:
            Unavailable: a record was refused, or the time is over.
        """
        if not self._done.wait(timeout_s):
            raise Unavailable(f"{self._open} records are not acknowledged after {timeout_s:g} s")
        if self._error is not None:
            raise Unavailable(f"Kafka refused a record: {self._error}")

    def on_delivery(self, error: KafkaError | None, _message: Message) -> None:
        """Called by the producer once per record."""
        with self._lock:
            if error is not None:
                self._error = error.str()
            self._open -= 1
            if self._open == 0:
                self._done.set()


class Outbox:
    """Sends batches in order; safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._producer = producer(settings, linger_ms=1)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._collect, name="outbox", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Records that the broker has not acknowledged yet."""
        return len(self._producer)

    def send(self, records: Sequence[Outgoing], room_s: float = 10.0) -> Delivery:
        """Hands the records to the producer without waiting for the broker.

        Raises:
            Unavailable: the producer's queue stayed full for `room_s`.
        """
        delivery = Delivery(len(records))
        deadline = time.monotonic() + room_s
        for record in records:
            self._produce(record, delivery, deadline)
        return delivery

    def close(self, within_s: float = 10.0) -> None:
        """Sends what is left, for a while, and stops."""
        self._producer.flush(within_s)
        self._stopping.set()
        self._thread.join(timeout=2)

    def _produce(self, record: Outgoing, delivery: Delivery, deadline: float) -> None:
        while True:
            try:
                self._producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers),
                    partition=-1 if record.partition is None else record.partition,
                    on_delivery=delivery.on_delivery,
                )
                return
            except BufferError as error:
                if time.monotonic() > deadline:
                    raise Unavailable("the queue to Kafka is full") from error
                time.sleep(0.005)

    def _collect(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(0.2)
