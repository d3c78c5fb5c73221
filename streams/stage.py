"""What the pump hands to a stage and what it gets back. Knows neither Kafka nor Faust."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from core.dead_letters import Refused, letter_of
from core.settings import Settings
from schemas.errors import InvalidEvent
from schemas.topics import BY_NAME, Topic
from streams.store import Changes, Store


class Record(Protocol):
    """The parts of a Kafka message that a stage reads."""

    def topic(self) -> Any: ...
    def partition(self) -> Any: ...
    def offset(self) -> Any: ...
    def key(self) -> Any: ...
    def value(self) -> Any: ...
    def headers(self) -> Any: ...


class Stage(Protocol):
    """A stage of the worker. `load` after each rebalance, then `step` batch by batch.

    `gather_s` is how long the rest of a batch may take to come after its first record. A stage that
    is `journaled` works in memory: its batches can be stepped again from a journal of how far they
    read, and it writes down what changed at a `checkpoint`. Any other says all of it at each step.
    """

    process: str
    short: str
    inputs: tuple[Topic, ...]
    gather_s: float
    journaled: bool

    def load(self, store: Store, partitions: list[int]) -> None:
        """Takes up the partitions as the store has them; others are let go."""

    def step(self, records: list[Record], wall_ms: int, live: bool) -> Changes:
        """Works through a batch; `live` is False while inputs are stepped again after a loss."""

    def checkpoint(self, changes: Changes) -> Iterator[None]:
        """Freezes what has changed since the last one and no step has said.

        The iterator writes it into `changes` bit by bit, while the stage may step on.
        """

    def changed(self) -> int:
        """About how many rows the next checkpoint would write."""

    def closed(self) -> dict[int, int]:
        """How far event time is closed, by partition; what the next owner must not say again."""

    def repeat(self, until: dict[int, int]) -> None:
        """Lets live time pass as far as an earlier owner did, who has said what follows."""

    def counters(self) -> dict[str, float]:
        """Counts and gauges for `/metrics`."""


def checkpoint_of(
    stage: Stage, store: Store, offsets: Mapping[tuple[str, int], int]
) -> Iterator[None]:
    """Freezes what the stage has changed; the iterator writes it down, and takes it in at its end.

    Steps may go on meanwhile. Until the end the store is as it was before, journal included.
    """
    changes = Changes()
    return store.checkpoint(changes, stage.checkpoint(changes), offsets)


class Names:
    """Kafka's names of the topics under one prefix, both ways."""

    def __init__(self, settings: Settings) -> None:
        self._full = {name: t.full_name(settings.topic_prefix) for name, t in BY_NAME.items()}
        self._topics = {self._full[name]: topic for name, topic in BY_NAME.items()}

    def full(self, topic: Topic) -> str:
        """The topic's name in Kafka."""
        return self._full[topic.name]

    def topic(self, full_name: str) -> Topic:
        """The topic of a name in Kafka."""
        return self._topics[full_name]


def origin_of(record: Record) -> str:
    """Where a record lies: topic[partition]@offset."""
    return f"{record.topic()}[{record.partition()}]@{record.offset()}"


def letter(record: Record, error: InvalidEvent) -> Refused:
    """The dead letter of a record."""
    own = record.headers() or []
    return letter_of(record.key(), record.value(), own, error, origin_of(record))


def records_read(by_topic: Mapping[str, int]) -> dict[str, float]:
    """The counter of records read, by topic, for `/metrics`."""
    return {f'records_total{{topic="{name}"}}': float(n) for name, n in by_topic.items()}
