"""Stores one flush of the sink at a time beside the reading of the next.

ClickHouse works in another process: while it takes one batch, this one reads and decodes. One
flush ends before the next begins, so that tables never hold a later block without an earlier one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

from streams.sink_block import Block
from streams.sink_store import Place, Store


class Flush(NamedTuple):
    """Blocks to store, the positions after them, and the barriers that are passed with them."""

    blocks: Sequence[Block]
    next_offsets: Mapping[Place, int]
    barriers: Mapping[tuple[str, int], Any]


class Writer:
    """A thread that stores flushes in order."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sink-writer")
        self._flush = Flush((), {}, {})
        self._running: Future[float] | None = None
        self.took_s = 0.0

    @property
    def busy(self) -> bool:
        """Whether a flush is under way."""
        return self._running is not None and not self._running.done()

    def start(self, flush: Flush) -> None:
        """Begin to store; the flush before it has to be taken first."""
        assert self._running is None
        self._flush = flush
        self._running = self._pool.submit(self._work, flush)

    def _work(self, flush: Flush) -> float:
        began_s = time.monotonic()
        self._store.write(flush.blocks)
        self._store.write_progress(flush.next_offsets)
        return time.monotonic() - began_s

    def settle(self) -> None:
        """Return when nothing is under way; what failed is raised by `take`."""
        if self._running is not None:
            wait((self._running,))

    def take(self) -> Flush | None:
        """The flush that has ended, once; None when there is none.

        Raises:
            Unavailable: it could not be stored; the process has to end.
        """
        if self._running is None or not self._running.done():
            return None
        self.took_s = self._running.result()
        self._running = None
        return self._flush

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()
