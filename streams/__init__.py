"""The stream processes: visitors and tasks in one worker, and the ClickHouse sink."""
