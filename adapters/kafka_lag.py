"""How far a consumer is behind, by what it has heard from the broker anyway."""

from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition


def lag_of(client: Consumer, positions: Mapping[tuple[str, int], int]) -> int:
    """How many records lie after these positions, by what the broker said with its last records.

    It asks nobody, so any thread may call it; a client that is closed has none.
    """
    behind = 0
    for (name, number), position in positions.items():
        try:
            _, end = client.get_watermark_offsets(TopicPartition(name, number), cached=True)
        except (KafkaException, RuntimeError):
            return 0
        behind += max(0, end - position)
    return behind
