"""Micro-batches: one pass for what waits, answers given once recorded, errors to each alone."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from core.admission import Limits
from schemas.errors import DeadlineExceeded, InvalidEvent, Overloaded, Unavailable
from schemas.predictions import Prediction, RecommendRequest, RequestRecord
from serving.batching import Batcher


def _request(name: str, deadline_ms: int | None = None) -> RecommendRequest:
    return RecommendRequest(request_id=name, visitor_id="v", deadline_ms=deadline_ms)


def _prediction(request: RequestRecord) -> Prediction:
    return Prediction(
        prediction_id="p-" + request.request_id,
        request_id=request.request_id,
        visitor_id=request.visitor_id,
        task=request.task,
        surface="home",
        served_at_ms=1,
        policy="loop",
        arm="champion",
        model_version="m",
        weights_version="w",
        slots=[],
    )


@dataclass
class Desk:
    """Answers and records; holds the worker up until told, where a gate is given."""

    limits: Limits = field(default_factory=Limits)
    gate: threading.Event | None = None
    full: bool = False
    batches: list[list[str]] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    shed_reasons: list[str] = field(default_factory=list)
    entered: threading.Event = field(default_factory=threading.Event)
    now_s: float = 0.0

    def answer(self, batch: list[RequestRecord], arrived_s: float) -> list[Prediction]:
        self.batches.append([each.request_id for each in batch])
        self.entered.set()
        if self.gate is not None:
            assert self.gate.wait(60)
        for each in batch:
            if each.request_id.startswith("bad"):
                raise InvalidEvent("bad", each.request_id)
            if each.request_id.startswith("bug"):
                raise KeyError(each.request_id)
        return [_prediction(each) for each in batch]

    def record(self, requests: Sequence[RequestRecord], answers: Sequence[Prediction]) -> None:
        if self.full:
            raise Unavailable("the spool is full")
        assert [each.request_id for each in requests] == [each.request_id for each in answers]
        self.recorded.extend(each.prediction_id for each in answers)

    def batch(self, name: str, size: int, took_s: float) -> None:
        assert size >= 1

    def shed(self, name: str, reason: str) -> None:
        self.shed_reasons.append(reason)

    def run(self, ask: Callable[[Batcher], object]) -> object:
        """Runs a coroutine function against a batcher whose worker runs beside it."""
        batcher = Batcher("test", self.answer, self.limits, self.record, self, lambda: self.now_s)
        worker = threading.Thread(target=batcher.run, args=(threading.Event(),))
        worker.start()
        try:
            return asyncio.run(ask(batcher))  # type: ignore[arg-type]
        finally:
            batcher.close()
            worker.join(timeout=60)
            assert not worker.is_alive()

    async def held_up(self, batcher: Batcher, *names: str) -> list[asyncio.Task[Prediction]]:
        """Tasks that wait: the first is with the worker, the others in the queue."""
        tasks = [asyncio.create_task(batcher.ask(_request(name), name[:1])) for name in names]
        await asyncio.sleep(0)
        await asyncio.to_thread(self.entered.wait, 20)
        return tasks


def test_answer_is_given_and_recorded() -> None:
    desk = Desk()

    async def ask(batcher: Batcher) -> Prediction:
        return await batcher.ask(_request("r"))

    found = desk.run(ask)
    assert isinstance(found, Prediction)
    assert desk.recorded == [found.prediction_id]


def test_what_waits_is_answered_in_one_pass_in_order() -> None:
    desk = Desk(gate=threading.Event())

    async def ask(batcher: Batcher) -> list[Prediction]:
        first = await desk.held_up(batcher, "first")
        rest = await desk.held_up(batcher, *(f"r{n}" for n in range(40)))
        assert batcher.waiting == 41
        assert desk.gate is not None
        desk.gate.set()
        found = await asyncio.gather(*first, *rest)
        assert batcher.waiting == 0
        return found

    found = desk.run(ask)
    assert isinstance(found, list)
    assert [len(batch) for batch in desk.batches] == [1, 32, 8]
    assert desk.recorded == [each.prediction_id for each in found]


def test_bad_request_and_bug_fail_alone() -> None:
    desk = Desk()

    async def ask(batcher: Batcher) -> object:
        return await batcher.ask_many([_request(n) for n in ("a", "bad", "b", "bug", "c")])

    found = desk.run(ask)
    assert isinstance(found, list)
    assert [type(each) for each in found] == [
        Prediction,
        InvalidEvent,
        Prediction,
        KeyError,
        Prediction,
    ]
    assert desk.recorded == ["p-a", "p-b", "p-c"]


def test_late_request_is_neither_computed_nor_recorded() -> None:
    desk = Desk(gate=threading.Event())

    async def ask(batcher: Batcher) -> None:
        (first,) = await desk.held_up(batcher, "first")
        late = asyncio.create_task(batcher.ask(_request("late", deadline_ms=50)))
        await asyncio.sleep(0)
        desk.now_s = 0.05
        assert desk.gate is not None
        desk.gate.set()
        await first
        with pytest.raises(DeadlineExceeded, match="within 50 ms"):
            await late

    desk.run(ask)
    assert desk.batches == [["first"]]
    assert desk.shed_reasons == ["deadline"]


def test_answer_that_came_too_late_is_not_recorded() -> None:
    desk = Desk(gate=threading.Event())

    async def ask(batcher: Batcher) -> None:
        late = asyncio.create_task(batcher.ask(_request("late", deadline_ms=50)))
        await asyncio.sleep(0)
        await asyncio.to_thread(desk.entered.wait, 20)
        desk.now_s = 0.05
        assert desk.gate is not None
        desk.gate.set()
        with pytest.raises(DeadlineExceeded):
            await late

    desk.run(ask)
    assert desk.recorded == []


def test_closed_connection_is_not_answered() -> None:
    desk = Desk(gate=threading.Event())

    async def ask(batcher: Batcher) -> None:
        first, gone, other = await desk.held_up(batcher, "first", "gone", "other")
        gone.cancel()
        await asyncio.sleep(0)
        assert desk.gate is not None
        desk.gate.set()
        await asyncio.gather(first, other)
        assert batcher.waiting == 0

    desk.run(ask)
    assert "p-gone" not in desk.recorded
    assert {"p-first", "p-other"} <= set(desk.recorded)


def test_full_queue_refuses_callers_over_their_share_first() -> None:
    desk = Desk(Limits(waiting=4, share=0.5), gate=threading.Event())

    async def ask(batcher: Batcher) -> None:
        waiting = await desk.held_up(batcher, "a1", "a2", "b1", "c1")
        with pytest.raises(Overloaded) as own:
            await batcher.ask(_request("a3"), "a")
        with pytest.raises(Overloaded) as full:
            await batcher.ask(_request("d1"), "d")
        assert (own.value.by_caller, full.value.by_caller) == (True, False)
        assert full.value.retry_after_s >= 1
        assert desk.gate is not None
        desk.gate.set()
        await asyncio.gather(*waiting)
        await batcher.ask(_request("a4"), "a")

    desk.run(ask)
    assert desk.shed_reasons == ["over_share", "over_capacity"]


def test_answers_that_cannot_be_kept_are_not_given() -> None:
    desk = Desk(full=True)

    async def ask(batcher: Batcher) -> None:
        with pytest.raises(Unavailable, match="spool"):
            await batcher.ask(_request("r"))

    desk.run(ask)


def test_closing_answers_what_waits_and_takes_nothing_more() -> None:
    desk = Desk(gate=threading.Event())

    async def ask(batcher: Batcher) -> None:
        waiting = await desk.held_up(batcher, "first", "second", "third")
        batcher.close()
        with pytest.raises(Unavailable, match="stopping"):
            await batcher.ask(_request("more"))
        assert desk.gate is not None
        desk.gate.set()
        await asyncio.gather(*waiting)

    desk.run(ask)
    assert sorted(desk.recorded) == ["p-first", "p-second", "p-third"]
