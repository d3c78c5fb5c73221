"""The pump of one stage: a Faust service that feeds an agent whole batches.

A thread reads with confluent-kafka, hands one batch to the agent through a Faust channel, waits for
the agent, then writes the local store and one Kafka transaction. Offsets are committed last, and
only then may a checkpoint take the place of the journal that could step the batch again.
"""

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future

from confluent_kafka import Message
from faust import Service

from adapters.clock import wall_ms
from adapters.kafka_transactions import Fenced, Superseded
from core.settings import Settings
from streams.snapshots import Snapshots
from streams.stage import Record, Stage, checkpoint_of
from streams.store import Changes, Entry
from streams.transport import Transport

logger = logging.getLogger(__name__)
POLL_S = 0.1
TICK_MS = 250
COMMIT_EVERY_MS = 1_000
CHECKPOINT_EVERY_MS = 10_000
CHECKPOINT_RECORDS = 500_000
CHECKPOINT_ROWS = 100_000
SLICE_S = 0.03
STOP_WITHIN_S = 30.0
SENT_WITHIN_S = 20.0


class Batch:
    """One batch on its way through the agent; `done` takes the changes or what went wrong."""

    def __init__(self, stage: Stage, records: Sequence[Record], now_ms: int, live: bool) -> None:
        self._stage = stage
        self._records = list(records)
        self._now_ms = now_ms
        self._live = live
        self.done: Future[Changes] = Future()

    def work(self) -> None:
        """Steps the stage; never raises: what goes wrong is for the pump, which stops for it."""
        try:
            self.done.set_result(self._stage.step(self._records, self._now_ms, self._live))
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
        self._until_s = float("inf")
        self.transport = Transport(settings, stage, self._store, self._load, self._over)
        self._thread = threading.Thread(target=self._run, name=stage.process, daemon=True)
        self._worked_ms = self._committed_ms = self._checkpoint_ms = 0
        self._since = 0
        self._under_way: Iterator[None] = iter(())
        self.is_ready = False
        self._turned_s = time.monotonic()

    def figures(self) -> dict[str, float]:
        """How the pump stands, for `/metrics`; while it works a turn ends many times a second."""
        return {
            "ready": float(self.is_ready),
            "turn_age_seconds": time.monotonic() - self._turned_s,
            "kafka_lag": float(self.transport.lag),
        }

    async def on_start(self) -> None:
        """Starts the thread; the channel belongs to this loop."""
        self._home = asyncio.get_running_loop()
        self._thread.start()

    async def on_stop(self) -> None:
        """Lets the batch in work finish, then leaves the group."""
        self._until_s = time.monotonic() + SENT_WITHIN_S
        self._halt.set()
        deadline = time.monotonic() + STOP_WITHIN_S
        while self._thread.is_alive() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    def _over(self) -> bool:
        return time.monotonic() > self._until_s

    def _load(self, partitions: list[int]) -> None:
        if not partitions and not self.transport.catching_up:
            self._checkpoint()
        self._under_way = iter(())  # until it is whole the journal has all of it
        self._stage.load(self._store, partitions)
        self.is_ready = bool(partitions)

    def _run(self) -> None:
        try:
            self.transport.open()
            while not self._halt.is_set():
                self._turn_or_begin_anew()
                self._turned_s = time.monotonic()
            self._finish()
        except BaseException as error:  # noqa: BLE001 - the worker stops for it
            logger.error("%s stops: %s", self._stage.process, error)
            self._stop_all(error)

    def _turn_or_begin_anew(self) -> None:
        """One turn; a batch that the broker broke off is stepped again, as after a restart."""
        try:
            self._turn()
        except (Fenced, Superseded) as error:
            logger.warning("%s goes on from its store: %s", self._stage.process, error)
            self.transport.begin_anew(error)

    def _turn(self) -> None:
        read = self.transport.read(POLL_S)
        if read is None:
            return  # the rest of a batch that is stepped again is on its way
        if read.again is not None:
            self._step_again(read.records, read.again)
            return
        now_ms, live = wall_ms(), not read.repeating
        if not read.records and now_ms - self._worked_ms < TICK_MS:
            self._write_on(SLICE_S)
            return
        self._worked_ms = now_ms
        if not self.transport.assigned:
            return
        if live and self.transport.said_until:
            self._repeat()
        began_s = time.monotonic()
        changes = self._through_agent(Batch(self._stage, read.records, now_ms, live))
        self.transport.size.fit(len(read.records), time.monotonic() - began_s)
        if not live:
            changes.outs.clear()  # an earlier life has sent them
        self._keep(read.records, changes, now_ms, live)
        self._commit(changes, now_ms, live)
        self._maybe_checkpoint(len(read.records), now_ms)
        self._snapshots.maybe_take(self._store, now_ms)

    def _step_again(self, records: list[Message], entry: Entry) -> None:
        """Steps a batch of the journal: only the last may have outputs that were never sent."""
        changes = self._through_agent(Batch(self._stage, records, entry.wall_ms, entry.live))
        rest = self.transport.to_send(entry, changes.outs)
        if rest:
            self.transport.send(rest)

    def _keep(self, records: list[Message], changes: Changes, now_ms: int, live: bool) -> None:
        """Writes what a restart needs, while the outputs travel."""
        until = self.transport.read_until(records)
        if changes.outs:
            self.transport.begin(changes.outs)
        if self._stage.journaled:
            self._store.note(until, now_ms, live=live, silent=not live)
        elif changes or records:
            self._store.write(changes, self.transport.offsets)

    def _repeat(self) -> None:
        """Catches up with what an earlier owner of these partitions has said by the wall clock."""
        self._stage.repeat(self.transport.said_until)
        self.transport.said_until = {}
        self._checkpoint()

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

    def _maybe_checkpoint(self, records: int, now_ms: int) -> None:
        """A checkpoint after the batch's outputs are committed, never before.

        It is written bit by bit between batches, so that it holds no event up.
        """
        self._since += records
        if not self._write_on(SLICE_S):
            return
        many = self._since >= CHECKPOINT_RECORDS or self._stage.changed() >= CHECKPOINT_ROWS
        if many or now_ms - self._checkpoint_ms >= CHECKPOINT_EVERY_MS:
            self._checkpoint_ms = now_ms
            self._begin_checkpoint()

    def _checkpoint(self) -> None:
        """One as of now, whole."""
        self._write_on(math.inf)
        self._begin_checkpoint()
        self._write_on(math.inf)

    def _begin_checkpoint(self) -> None:
        if self._stage.journaled:
            self._since = 0
            self._under_way = checkpoint_of(self._stage, self._store, self.transport.offsets)

    def _write_on(self, within_s: float) -> bool:
        """Goes on with the checkpoint under way for about so long; False while it is not whole."""
        until_s = time.monotonic() + within_s
        return all(time.monotonic() < until_s for _ in self._under_way)

    def _finish(self) -> None:
        if not self.transport.catching_up and self.transport.assigned:
            rest = Changes()
            if self._stage.journaled:
                self._checkpoint()
            else:
                deque(self._stage.checkpoint(rest), maxlen=0)
            if rest:
                self._store.write(rest, self.transport.offsets)
            self._snapshots.take(self._store)
        self.transport.close()
        self._store.close()
