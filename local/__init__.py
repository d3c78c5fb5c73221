"""One machine: the embedded Kafka broker, the embedded ClickHouse endpoint, their supervisor."""
