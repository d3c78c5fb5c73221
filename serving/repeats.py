"""Calls that are made again, whichever serving process of the machine they come to.

This process's memory is asked first, then the file that all of them share, by one thread that does
in one transaction all that waits. What the file cannot say in time counts as not said before: no
call fails for it.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from serving.answered import Answered, Work
from serving.idempotency import Kept, Repeats, digest_of, lasting, said_before
from serving.responses import Response

WITHIN_S = 0.25
MOST_WAITING, MOST_TOGETHER, MOST_LEFT = 1_000, 64, 1_000
AWAY_S = 0.5
_FAILED = object()  # nothing of it is in the file, and nothing will be

log = logging.getLogger(__name__)


class _Asked(NamedTuple):
    work: Work
    loop: asyncio.AbstractEventLoop
    said: asyncio.Future[Any]
    must_be: bool


class SharedRepeats(Collector):
    """What was answered under which key, here and in other processes; for one event loop.

    Args:
        file: what they share; None for this process alone.
        clock: seconds that only grow.
    """

    def __init__(
        self, file: Answered | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._here = Repeats(clock)
        self._clock = clock
        self._file = file
        self._counts = dict.fromkeys(("here", "elsewhere", "failed", "late"), 0)
        self._asked: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._told: set[str] = set()  # calls whose end the file is to hear
        self._left: list[Work] = []
        self._away_until_s = 0.0

    @property
    def is_away(self) -> bool:
        """Whether the file could not be used lately."""
        return self._away_until_s > 0.0

    async def begin(self, place: str, body: bytes) -> Response | None:
        """The answer of before, or None when this call is the first and is to be answered.

        Raises:
            Denied: 422 for another body under the key, 409 while the first is being answered.
        """
        before = self._here.begin(place, body)
        if before is not None:
            self._counts["here"] += 1
        if before is not None or self._file is None:
            return before
        if self._asked.qsize() >= MOST_WAITING:
            self._counts["late"] += 1
            return None
        response = None
        try:
            kept = await self._do(partial(self._file.begin, place, digest_of(body)))
            if isinstance(kept, Kept):
                response = said_before(kept, digest_of(body))
                self._counts["elsewhere"] += 1
        except BaseException:
            self._here.end(place, None)
            raise
        if response is not None:
            self._here.end(place, response)
        elif kept is not _FAILED:
            self._told.add(place)
        return response

    async def end(self, place: str, response: Response | None) -> None:
        """Keeps the answer of a call; None, or one worth trying again, leaves no trace."""
        self._here.end(place, response)
        if self._file is not None and place in self._told:
            self._told.discard(place)
            await self._do(partial(self._file.end, place, lasting(response)), must_be=True)

    def collect(self) -> Iterator[Metric]:
        """The figures, as Prometheus takes them."""
        counted = CounterMetricFamily(
            "shoploop_serving_repeats",
            "Calls answered before, here or elsewhere; what the shared file failed to do, or did "
            "too late.",
            labels=["result"],
        )
        for name, count in self._counts.items():
            counted.add_metric([name], count)
        yield counted

    def describe(self) -> list[Metric]:
        """Nothing beforehand: there is nothing to be told apart."""
        return []

    def close(self) -> None:
        """Lets go of the file once what waits is done."""
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join(timeout=2.0)
        if self._file is not None:
            self._file.close()

    async def _do(self, work: Work, *, must_be: bool = False) -> Any:
        """What the file says; None when it says nothing in time."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="repeats", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        said: asyncio.Future[Any] = loop.create_future()
        self._asked.put(_Asked(work, loop, said, must_be))
        try:
            async with asyncio.timeout(WITHIN_S):
                return await said
        except TimeoutError:
            self._counts["late"] += 1
            return None

    def _run(self) -> None:
        going = True
        while going:
            batch, going = self._next()
            found = self._together(batch)
            for asked, value in zip(batch, found, strict=True):
                with suppress(RuntimeError):  # the loop was closed: nobody waits
                    asked.loop.call_soon_threadsafe(_tell, asked.said, value)

    def _next(self) -> tuple[list[_Asked], bool]:
        """What waits, at most so many, and whether there will be more; none after a while."""
        batch: list[_Asked] = []
        try:
            asked = self._asked.get(timeout=AWAY_S if self._left else None)
            while asked is not None:
                batch.append(asked)
                if len(batch) >= MOST_TOGETHER:
                    return batch, True
                asked = self._asked.get_nowait()
        except queue.Empty:
            return batch, True
        return batch, False

    def _together(self, batch: list[_Asked]) -> list[Any]:
        """What the file says to each, or that it failed: then what must be is done later."""
        assert self._file is not None
        left, self._left = self._left, []
        works = [*left, *(asked.work for asked in batch)]
        if self._clock() >= self._away_until_s:
            try:
                found = self._file.together(works)[len(left) :]
                self._away_until_s = 0.0
                return found
            except (sqlite3.Error, OSError) as error:
                if not self._away_until_s:
                    log.warning("calls made again elsewhere are not known: %s", error)
                self._away_until_s = self._clock() + AWAY_S
        self._counts["failed"] += len(batch)
        later = [*left, *(asked.work for asked in batch if asked.must_be)]
        self._left = later[-MOST_LEFT:]
        return [_FAILED] * len(batch)


def _tell(said: asyncio.Future[Any], value: Any) -> None:
    if not said.done():
        said.set_result(value)
