"""A state from ClickHouse, for a replica that starts when Kafka no longer has all events.

Reads the table `events` below the offsets that Kafka still holds, in event time; Kafka gives the
rest.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

from confluent_kafka import KafkaException

from adapters.clickhouse import ClickHouse, connected, dsn_of
from adapters.kafka import ANSWER_WITHIN_S, Follower, consumer, ends_of, topic_name
from core.partition_share import share_of
from core.settings import Settings
from core.shop_people import Person, meet
from core.shop_state import ShopState
from schemas import topics
from schemas.codec import Decoder
from schemas.errors import InvalidEvent, Unavailable
from schemas.items import Item

PAGE = 100_000
EVENTS_BETWEEN_ROOM = 1_000
CATCH_UP_S = 600.0
Ranges = dict[int, tuple[int, int]]

log = logging.getLogger(__name__)


class Reach:
    """What Kafka still holds of a share of `events.valid`: (first, next) offset by partition."""

    def __init__(self, settings: Settings) -> None:
        """Asks the broker; raises Unavailable when it does not answer."""
        name = topic_name(settings, topics.EVENTS_VALID)
        share = share_of(settings.served_partitions)
        client = consumer(settings, None)
        try:
            cluster = str(client.list_topics(name, timeout=ANSWER_WITHIN_S).cluster_id)
            self.source = cluster if share.is_whole else f"{cluster}, partitions {share.name}"
            self.ranges: Ranges = {
                number: ends_of(client, name, number) for number in share.partitions
            }
        except KafkaException as error:
            raise Unavailable(f"Kafka at {settings.kafka}: {error}") from error
        finally:
            client.close()

    @property
    def is_whole(self) -> bool:
        """Whether nothing has been deleted."""
        return all(first == 0 for first, _ in self.ranges.values())

    @property
    def events(self) -> int:
        """How many records it holds at most."""
        return sum(following - first for first, following in self.ranges.values())

    def covers(self, offsets: dict[tuple[str, int], int]) -> bool:
        """Whether reading on from these offsets misses nothing."""
        name = topics.EVENTS_VALID.name
        return all(
            first <= offsets.get((name, number), 0) <= following
            for number, (first, following) in self.ranges.items()
        )


def state_from_clickhouse(
    settings: Settings, reach: Reach, state: ShopState, make_room: Callable[[], None]
) -> None:
    """Brings an empty state to what Kafka has deleted, in (event time, event id) order.

    The catalogue goes first, from its compacted topic: what was paid is learned from its prices.

    Args:
        settings: where Kafka and ClickHouse are.
        reach: what Kafka still has.
        state: to be filled.
        make_room: called now and then, where the state may give memory back.

    Raises:
        Unavailable: Kafka or ClickHouse did not answer.
    """
    put_items(settings, state)
    count = 0
    with connected(dsn_of(settings)) as client:
        for at_ms, _, kind, item_ids, *person in _events(client, settings, reach):
            known = Person(*person)
            state.apply(known.visitor_id, kind, item_ids if meet(state, known) else [], at_ms)
            count += 1
            if count % EVENTS_BETWEEN_ROOM == 0:
                make_room()
    log.info("took %d events from ClickHouse", count)


def put_items(settings: Settings, state: ShopState) -> None:
    """Takes in the catalogue as its topic has it now.

    Raises:
        Unavailable: Kafka did not answer.
    """
    follower = Follower(settings, [topics.ITEMS])
    decode = Decoder(Item)
    for _, message in follower.until_caught_up(CATCH_UP_S):
        # What is no item is told by whoever goes on to follow the topic, from its start.
        with contextlib.suppress(InvalidEvent):
            item: Item = decode(message.value())
            put_item(state, item)
    follower.close()


def gone(key: bytes | None) -> Item:
    """What a record without value says: the shop has deleted the item that the key names."""
    name = (key or b"").decode("utf-8", "replace")
    return deleted(name)


def deleted(item_id: str) -> Item:
    """An item that the shop no longer has."""
    return Item(item_id=item_id, updated_at_ms=0, available=False)


def put_item(state: ShopState, item: Item) -> None:
    """Takes in one record of the catalogue."""
    state.put_item(
        item.item_id,
        item.title,
        item.price,
        item.updated_at_ms,
        item.available,
        category=item.category,
        stock=item.stock,
        compatible_with=item.compatible_with,
        substitute_of=item.substitute_of,
    )


def _events(client: ClickHouse, settings: Settings, reach: Reach) -> Iterator[tuple[Any, ...]]:
    """Rows (time, id, name, items, person) below the offsets that Kafka still holds, by pages."""
    held = " OR ".join(
        f"(_partition = {number} AND _offset < {first})"
        for number, (first, _) in reach.ranges.items()
    )
    query = (
        "SELECT event_time_ms, event_id, event_name, items.item_id, visitor_id, user_id, "
        "formerly_visitor_ids, formerly_user_ids, ifNull(consent_personalisation, 1) FROM events "
        "WHERE _topic = {topic:String} AND (" + held + ") "
        "AND (event_time_ms, event_id) > ({time:Int64}, {id:String}) "
        "ORDER BY event_time_ms, event_id LIMIT {page:UInt32}"
    )
    after: tuple[int, str] = (-1, "")
    while True:
        parameters = {"topic": topic_name(settings, topics.EVENTS_VALID), "page": PAGE}
        rows = client.query_rows(query, parameters | {"time": after[0], "id": after[1]})
        yield from rows
        if len(rows) < PAGE:
            return
        after = (rows[-1][0], rows[-1][1])
