"""Replays a shop's history through a running loop, barrier by barrier, and judges the answers.

The order of the protocol is what keeps it honest: questions first, then their acknowledged answers,
then the events that judge them, then the watermark, then waiting until every process has passed it.
Knows nothing of any one shop's data.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import msgspec

from adapters import kafka
from adapters.garbage import collect_seldom
from adapters.private_file import read_secret
from core.replay_plan import Ask, Barrier, Entry, Planner
from core.settings import DAY_MS, HOUR_MS, Settings
from local.replay_http import HttpAsker
from local.replay_play import Player
from local.replay_view import View
from local.replay_waits import TASKS, Waits
from local.replay_wire import Inbox, Sender
from schemas import topics
from schemas.errors import BadSettings
from schemas.ids import derived_id, new_id
from schemas.models import Order
from schemas.predictions import RecommendRequest

ANSWERED_BY = ("loop", "control")
_HISTORY_STEP_MS = 7 * DAY_MS
_AFTERWARDS_MS = 3 * DAY_MS


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What of a history is replayed, and how. Times are event time."""

    train_until_ms: int
    from_ms: int
    to_ms: int
    ask_before: frozenset[str] = frozenset({"purchase"})
    barrier_ms: int = 4 * HOUR_MS
    pace: float = 0.0
    k: int = 10
    serving_urls: tuple[str, ...] = ()
    serving_key_file: Path | None = None


class Replay:
    """One replay against the processes of a running loop; `run` once, then read what it counted."""

    def __init__(self, settings: Settings, plan: Plan, view: View) -> None:
        self.settings = settings
        self.plan = plan
        self.run_id = new_id()
        self.requests = 0
        self.mixed_versions = 0
        self.barriers = 0
        self.phase_s: dict[str, float] = {}
        key_file = plan.serving_key_file
        key = read_secret(key_file, "--serving-key-file") if key_file else ""
        self.http = HttpAsker(plan.serving_urls, key=key)
        self.sender = Sender(settings, self.run_id)
        self.player = Player(self.sender, settings.surface_names, settings.purchase_window_ms)
        self.inbox = Inbox(settings)
        self.waits = Waits(self.inbox, settings.task, self._tick)
        self.now_ms = plan.train_until_ms
        self._view = view
        self._planner = Planner(settings.surface_names, plan.ask_before, plan.barrier_ms)
        self._trained_until_ms = plan.train_until_ms - settings.training_cost_ms

    def run(self, entries: Iterable[Entry]) -> None:
        """Sends everything and waits for everything.

        Raises:
            BadSettings: the shop already holds events.
            Unavailable: a process did not come along in time; the text names it.
        """
        collect_seldom()
        self._refuse_used_shop()
        self.waits.processes(max(1, len(self.plan.serving_urls)))
        with self._timed("history"):
            rest = self._history(iter(entries))
        with self._timed("first_training"):
            rest = self._bootstrap(rest)
        with self._timed("replay"):
            self._replay(rest)
        with self._timed("finish"):
            self._finish()

    def close(self) -> None:
        """Leaves Kafka and the servers."""
        self.http.close()
        self.inbox.close()

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        began_s = time.monotonic()
        yield
        self.phase_s[phase] = time.monotonic() - began_s

    def _tick(self) -> None:
        self._view.tick(self)

    def _refuse_used_shop(self) -> None:
        client = kafka.consumer(self.settings, None)
        try:
            held = sum(kafka.end_offsets(self.settings, client, topics.EVENTS).values())
        finally:
            client.close()
        if held:
            raise BadSettings(
                f"the topic {kafka.topic_name(self.settings, topics.EVENTS)} already holds {held} "
                "records: a replay wants an empty shop (shoploop up --home with a new folder)"
            )

    def _history(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        """Sends what the first version is trained on; returns what comes after it.

        That ends as long before the replay as a training costs: then its version is due in time.
        """
        self._view.phase("sending the history")
        return self._unasked(entries, self._trained_until_ms)

    def _unasked(self, entries: Iterator[Entry], until_ms: int) -> Iterator[Entry]:
        """Sends and closes what comes before a time, asking nothing; returns the rest."""
        next_mark_ms = 0
        for entry in entries:
            if entry.at_ms >= until_ms:
                entries = chain([entry], entries)
                break
            if entry.at_ms > next_mark_ms:
                if next_mark_ms:
                    self._mark(next_mark_ms)
                next_mark_ms = entry.at_ms + _HISTORY_STEP_MS
            self._planner.learn(entry)
            self.player.send(entry)
        self._mark(until_ms - 1)
        self.sender.flush()
        self.waits.barrier(until_ms - 1)
        return entries

    def _mark(self, event_time_ms: int, *, final: bool = False) -> None:
        self.sender.watermark(event_time_ms, self.barriers, final=final)
        self.barriers += 1

    def _bootstrap(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        """Has the first version trained and waits until everyone serves it."""
        self._view.phase("training the first version")
        self.sender.order(
            Order(
                command_id=derived_id("bootstrap", self.run_id),
                task=self.settings.task,
                action="retrain",
                event_time_ms=self._trained_until_ms - 1,
                retrain_kind="bootstrap",
                reason="the first version of a replay",
                by="replay",
            )
        )
        self.sender.flush()
        self.waits.first_training()
        rest = self._unasked(entries, self.plan.train_until_ms)
        self.waits.first_version(self.plan.train_until_ms - 1)
        return rest

    def _replay(self, entries: Iterator[Entry]) -> None:
        self._view.phase("replaying")
        began_s = time.monotonic()
        held = _before(entries, self.plan.to_ms)
        barriers = self._planner.barriers(held, self.plan.train_until_ms - 1)
        barrier = next(barriers, None)
        while barrier is not None:
            asks = [ask for ask in barrier.asks if ask.as_of_ms >= self.plan.from_ms]
            expected = self._request(asks)
            # What needs no answer is done while the answers are made.
            self._judge()
            upcoming = next(barriers, None)
            self.waits.answers(expected, ANSWERED_BY)
            self._pass(barrier, asks)
            if self.plan.pace > 0:
                due_s = (barrier.end_ms - self.plan.from_ms) / 1000 / self.plan.pace
                self._sleep_until(began_s + due_s)
            barrier = upcoming
        self._judge()

    def _sleep_until(self, due_s: float) -> None:
        while (left_s := due_s - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.25))
            self._tick()

    def _pass(self, barrier: Barrier, asks: list[Ask]) -> None:
        """Sends what happened, closes the barrier and waits until everyone has passed it."""
        self._count_mixed(asks)
        self.player.play(barrier.entries, asks, self.inbox.answers)
        self._mark(barrier.end_ms)
        self.sender.flush()
        self.now_ms = barrier.end_ms
        self.waits.barrier(barrier.end_ms)
        self.waits.trainings(barrier.end_ms)

    def _judge(self) -> None:
        self.player.judge(self.now_ms)
        self._view.barrier(self)

    def _request(self, asks: list[Ask]) -> list[str]:
        """Asks every question, the first one over HTTP; returns those that must be answered."""
        expected: list[str] = []
        over_http: RecommendRequest | None = None
        for ask in asks:
            for surface, request_id in ask.request_ids.items():
                request = RecommendRequest(
                    request_id=request_id,
                    visitor_id=ask.visitor_id,
                    surface=surface,
                    task=self.settings.task,
                    k=self.plan.k,
                    session_id=ask.session_id,
                    as_of_ms=ask.as_of_ms,
                )
                self.requests += 1
                if over_http is None and self.http.has_servers:
                    over_http = request
                    continue
                self.sender.request(request)
                expected.append(request_id)
        self.sender.flush()
        if over_http is not None and self.http.ask(over_http):
            expected.append(over_http.request_id)
        return expected

    def _count_mixed(self, asks: list[Ask]) -> None:
        tasks, task = self.inbox.progress[TASKS], self.settings.task
        live = {tasks.live.get(task), tasks.canary.get(task, "").partition(" ")[0]}
        for ask in asks:
            for request_id in ask.request_ids.values():
                answer = self.inbox.answers.get(request_id, {}).get("loop")
                if answer is not None and answer.model_version not in live:
                    self.mixed_versions += 1

    def _finish(self) -> None:
        self._view.phase("closing what is open")
        final_ms = self.now_ms + self.settings.purchase_window_ms + _AFTERWARDS_MS
        self._mark(final_ms, final=True)
        self.sender.flush()
        self.waits.barrier(final_ms)
        self.waits.trainings(final_ms)
        self.player.judge(final_ms)


def _before(entries: Iterator[Entry], to_ms: int) -> Iterator[Entry]:
    for entry in entries:
        if entry.at_ms >= to_ms:
            return
        yield entry
