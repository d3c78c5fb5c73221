"""Answers followed as events arrive, before event time is closed: totals for the age `now`.

Live time alone: an event that is not fresh by the wall clock is left to the label ages. Answers
are followed for half an hour and the newest 20,000 of a partition, so that memory stays bounded;
what comes later is for the ages `1h` to `final`. Totals only grow, and outlive a restart; answers
that were open then are no longer followed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from core.judgement import K
from core.surfaces import BUY_AGAIN, DISCOVER, wanted
from schemas.events import (
    CartAdded,
    FeedbackGiven,
    ItemSelected,
    ItemViewed,
    PurchaseMade,
    ShopEvent,
)
from schemas.outcomes import Running
from schemas.predictions import SERVED_ARMS, Prediction

LOOP = "loop"
FRESH_MS = 15_000
FOLLOWED_MS = 30 * 60_000
MOST_FOLLOWED = 20_000
_WAITED_MS = 2_000
_MOST_WAITING = 1_000
_COUNTED = (ItemSelected, ItemViewed, CartAdded, PurchaseMade, FeedbackGiven)
Cell = tuple[int, str, str, str]
"""Window, surface, model version, arm."""
Bought = Callable[[str], Mapping[str, int]]
"""When a visitor bought what for the first time, by item."""


class Open(msgspec.Struct):
    """One answer that is followed, and what has been counted of it already."""

    visitor_id: str
    served_at_ms: int
    session_id: str | None
    items: list[str]
    cell: Cell
    counted: tuple[str, ...] = ()


class RunningTotals:
    """Follows the answers of one visitor partition; `said` gives the totals that changed.

    Args:
        task: what is measured; answers of other tasks are left alone.
        window_ms: width of a metric window.
        partition: the visitor partition.
        totals: what `save` had given.
    """

    def __init__(
        self, task: str, window_ms: int, partition: int, totals: list[Running] | None = None
    ) -> None:
        self._task = task
        self._window_ms = window_ms
        self._partition = partition
        self._totals = {_cell_of(each): each for each in totals or []}
        self._open: dict[str, Open] = {}
        self._by_visitor: dict[str, dict[str, Open]] = {}
        self._arrived: list[tuple[ShopEvent, int]] = []
        self._changes: dict[Cell, dict[str, int]] = {}

    def served(self, prediction: Prediction, wall_ms: int) -> None:
        """Begins to follow one fresh answer of the loop; a repeat is left alone."""
        if prediction.arm not in SERVED_ARMS or prediction.policy != LOOP:
            return
        stale = abs(wall_ms - prediction.served_at_ms) > FRESH_MS
        if stale or prediction.task != self._task or prediction.prediction_id in self._open:
            return
        answer = Open(
            prediction.visitor_id,
            prediction.served_at_ms,
            prediction.session_id,
            [slot.item_id for slot in prediction.slots],
            self._cell(prediction),
        )
        self._open[prediction.prediction_id] = answer
        of_visitor = self._by_visitor.get(prediction.visitor_id)
        if of_visitor is None:
            of_visitor = self._by_visitor[prediction.visitor_id] = {}
        of_visitor[prediction.prediction_id] = answer
        self._raise(answer.cell, "answers")

    def arrived(self, event: ShopEvent, wall_ms: int) -> None:
        """Keeps a fresh event until `said`, when the answers that came with it are known too."""
        if isinstance(event, _COUNTED) and abs(wall_ms - event.event_time_ms) <= FRESH_MS:
            self._arrived.append((event, wall_ms))

    def said(self, wall_ms: int, bought: Bought) -> list[Running]:
        """Credits what has arrived and gives the totals that it changed."""
        arrived, self._arrived = self._arrived, []
        for event, came_ms in arrived:
            waits = wall_ms - came_ms < _WAITED_MS and len(self._arrived) < _MOST_WAITING
            if waits and self._unknown(event):
                self._arrived.append((event, came_ms))
            elif event.visitor_id in self._by_visitor:
                self._credit(event, bought)
        self._let_go(wall_ms)
        changed = [self._raised(cell, wall_ms) for cell in sorted(self._changes)]
        self._changes.clear()
        return changed

    def save(self) -> list[Running]:
        """The totals of the newest windows, for the next start."""
        newest = max((each.window_start_ms for each in self._totals.values()), default=0)
        oldest = newest - self._window_ms
        kept = {c: t for c, t in self._totals.items() if t.window_start_ms >= oldest}
        self._totals = kept
        return [kept[cell] for cell in sorted(kept)]

    def _cell(self, prediction: Prediction) -> Cell:
        start = prediction.served_at_ms - prediction.served_at_ms % self._window_ms
        cell = (start, prediction.surface, prediction.model_version, prediction.arm)
        if cell not in self._totals:
            self._totals[cell] = Running(
                task=self._task,
                surface=prediction.surface,
                policy=prediction.policy,
                model_version=prediction.model_version,
                arm=prediction.arm,
                window_start_ms=start,
                partition=self._partition,
                sequence=0,
                answers=0,
            )
        return cell

    def _raised(self, cell: Cell, wall_ms: int) -> Running:
        """The cell's totals with its changes; sequences go on above those before a loss."""
        before = self._totals[cell]
        counts = {name: getattr(before, name) + n for name, n in self._changes[cell].items()}
        sequence = max(before.sequence + 1, wall_ms - before.window_start_ms)
        after = msgspec.structs.replace(before, sequence=sequence, **counts)
        self._totals[cell] = after
        return after

    def _unknown(self, event: ShopEvent) -> bool:
        if event.prediction_id is not None and event.prediction_id not in self._open:
            return True
        for item in getattr(event, "items", ()):
            if item.prediction_id is not None and item.prediction_id not in self._open:
                return True
        return False

    def _credit(self, event: ShopEvent, bought: Bought) -> None:
        match event:
            case PurchaseMade():
                self._basket(event, bought)
            case ItemSelected() | ItemViewed() | CartAdded():
                name = "carted" if isinstance(event, CartAdded) else "clicked"
                for item in event.items:
                    token = item.prediction_id or event.prediction_id
                    self._touch(event, item.item_id, token, name)
            case FeedbackGiven() if event.item_id is not None and event.verdict > 0:
                self._touch(event, event.item_id, event.prediction_id, "bought")

    def _touch(self, event: ShopEvent, item_id: str, token: str | None, name: str) -> None:
        """Counts for the answer named, else for the newest one that listed the item."""
        named = self._open.get(token) if token is not None else None
        if named is not None and item_id in named.items:
            self._count(named, name)
            return
        answers = [
            (answer.served_at_ms, prediction_id, answer)
            for prediction_id, answer in self._by_visitor[event.visitor_id].items()
            if answer.served_at_ms < event.event_time_ms and item_id in answer.items
        ]
        if answers:
            self._count(max(answers, key=lambda each: each[:2])[2], name)

    def _basket(self, event: PurchaseMade, bought: Bought) -> None:
        """Counts for every answer that the order followed, whatever it is credited to."""
        first_ms: Mapping[str, int] | None = None
        for answer in self._by_visitor[event.visitor_id].values():
            if answer.served_at_ms >= event.event_time_ms:
                continue
            if answer.session_id is not None and answer.session_id != event.session_id:
                continue
            basket, new = {item.item_id for item in event.items}, set[str]()
            surface, served_ms = self._totals[answer.cell].surface, answer.served_at_ms
            if surface in (DISCOVER, BUY_AGAIN):
                first_ms = bought(event.visitor_id) if first_ms is None else first_ms
                new = {i for i in basket if first_ms.get(i, served_ms + 1) > served_ms}
            counts = wanted(surface, basket, new)
            if counts:
                self._judge(answer, set(counts))

    def _judge(self, answer: Open, wanted: set[str]) -> None:
        self._count(answer, "judged")
        if not wanted.isdisjoint(answer.items):
            self._count(answer, "bought")
        if not wanted.isdisjoint(answer.items[:K]):
            self._count(answer, "hits")

    def _count(self, answer: Open, name: str) -> None:
        if name not in answer.counted:
            answer.counted = (*answer.counted, name)
            self._raise(answer.cell, name)

    def _raise(self, cell: Cell, name: str) -> None:
        changes = self._changes.get(cell)
        if changes is None:
            changes = self._changes[cell] = {}
        changes[name] = changes.get(name, 0) + 1

    def _let_go(self, wall_ms: int) -> None:
        """Stops following what is too old or one too many, oldest first."""
        surplus = len(self._open) - MOST_FOLLOWED
        gone = []
        for prediction_id, answer in self._open.items():
            if surplus <= 0 and answer.served_at_ms > wall_ms - FOLLOWED_MS:
                break
            surplus -= 1
            gone.append(prediction_id)
        for prediction_id in gone:
            answer = self._open.pop(prediction_id)
            of_visitor = self._by_visitor[answer.visitor_id]
            del of_visitor[prediction_id]
            if not of_visitor:
                del self._by_visitor[answer.visitor_id]


def _cell_of(total: Running) -> Cell:
    return total.window_start_ms, total.surface, total.model_version, total.arm
