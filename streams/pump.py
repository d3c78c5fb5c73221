"""The pump of one stage: a Faust service that feeds an agent whole batches.

A thread reads with confluent-kafka, hands one batch to the agent through a Faust channel, waits for
the agent, then writes the local store and one Kafka transaction. Offsets are committed last.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future

from faust import Service

from adapters.clock import wall_ms
from core.settings import Settings
from streams.snapshots import Snapshots
from streams.stage import Record, Stage
from streams.store import Changes
from streams.transport import Transport

logger = logging.getLogger(__name__)
POLL_S = 0.1
TICK_MS = 250
COMMIT_EVERY_MS = 1_000
STOP_WITHIN_S = 30.0


class Batch:
    """One batch on its way through the agent; `done` takes the changes or what went wrong."""

    def __init__(self, stage: Stage, records: list[Record], live: bool) -> None:
        self._stage = stage
        self._records = records
        self._live = live
        self.done: Future[Changes] = Future()

    def work(self) -> None:
        """Steps the stage; never raises: what goes wrong is for the pump, which stops for it."""
        try:
            self.done.set_result(self._stage.step(self._records, wall_ms(), self._live))
        except BaseException as error:  # noqa: BLE001 - carried to the pump, which re-raises it
            self.done.set_exception(error)


class Pump(Service):
    """Reads, hands over, writes and commits for one stage."""

    def __init__(
        self,
        settings: Settings,
        stage: Stage,
        hand_over: Callable[[Batch], Awaitable[object]],
        stop_all: Callable[[BaseException], None],
    ) -> None:
        super().__init__()
        self._stage = stage
        self._hand_over = hand_over
        self._stop_all = stop_all
        self._halt = threading.Event()
        self._snapshots = Snapshots(settings, stage.short)
        self._store = self._snapshots.open_store()
        self.transport = Transport(settings, stage, self._store, self._load)
        self._thread = threading.Thread(target=self._run, name=stage.process, daemon=True)
        self._worked_ms = self._committed_ms = 0
        self.is_ready = False

    async def on_start(self) -> None:
        """Starts the thread; the channel belongs to this loop."""
        self._home = asyncio.get_running_loop()
        self._thread.start()

    async def on_stop(self) -> None:
        """Lets the batch in work finish, then leaves the group."""
        self._halt.set()
        deadline = time.monotonic() + STOP_WITHIN_S
        while self._thread.is_alive() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    def _load(self, partitions: list[int]) -> None:
        self._stage.load(self._store, partitions)
        self.is_ready = bool(partitions)

    def _run(self) -> None:
        try:
            self.transport.open()
            while not self._halt.is_set():
                self._turn()
            self._finish()
        except BaseException as error:  # noqa: BLE001 - the worker stops for it
            logger.error("%s stops: %s", self._stage.process, error)
            self._stop_all(error)

    def _turn(self) -> None:
        records = self.transport.read(POLL_S)
        live = not self.transport.repeating
        now_ms = wall_ms()
        if not records and now_ms - self._worked_ms < TICK_MS:
            return
        self._worked_ms = now_ms
        if not self.transport.assigned:
            return
        if live and self.transport.said_until:
            self._repeat()
        changes = self._through_agent(Batch(self._stage, list(records), live))
        offsets = self.transport.read_until(records)
        if not live:
            changes.outs.clear()  # an earlier life has sent them
        if changes.outs:
            self.transport.begin(changes.outs)
        if changes or records:
            self._store.write(changes, offsets)
        self._commit(changes, now_ms, live)
        self._snapshots.maybe_take(self._store, now_ms)

    def _repeat(self) -> None:
        """Catches up with what an earlier owner of these partitions has said by the wall clock."""
        changes = self._stage.repeat(self.transport.said_until)
        self.transport.said_until = {}
        changes.outs.clear()
        if changes:
            self._store.write(changes, self.transport.offsets)

    def _through_agent(self, batch: Batch) -> Changes:
        asyncio.run_coroutine_threadsafe(self._put(batch), self._home)
        return batch.done.result()

    async def _put(self, batch: Batch) -> None:
        try:
            await self._hand_over(batch)
        except BaseException as error:
            batch.done.set_exception(error)
            raise

    def _commit(self, changes: Changes, now_ms: int, live: bool) -> None:
        due = self.transport.unsent_offsets and now_ms - self._committed_ms >= COMMIT_EVERY_MS
        if live and (changes.outs or due):
            self.transport.send(changes.outs)
            self._committed_ms = now_ms

    def _finish(self) -> None:
        if not self.transport.catching_up and self.transport.assigned:
            rest = self._stage.rest()
            if rest:
                self._store.write(rest, self.transport.offsets)
            self._snapshots.take(self._store)
        self.transport.close()
        self._store.close()
