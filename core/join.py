"""Answers joined with what the shopper did next: attribution, label lifecycle, outcomes.

`step` takes one input in, `close` says what is due at a watermark. A verdict is computed from the
facts at hand and never updated in place, so that repeated and reordered inputs give the same one.
Knows no clock, no topic and no storage.
"""

from collections.abc import Callable, Sequence

import msgspec

from core.attribution import Windows, listing_of, verdict_of
from core.label_plan import FINAL, memory_ms, plan
from core.verdict import Verdict, corrected
from core.visitor_facts import Answer, Visitor, add_event, forget_before, tokens_of, touched
from schemas.events import PurchaseMade, RefundMade, ShopEvent
from schemas.predictions import SERVED_ARMS, Prediction

FOREVER_MS = 1 << 62
FEW = 8
"""Answers that are read without an index of who lists what: making it would take longer."""


class Output(msgspec.Struct):
    """What one step or close brought about.

    `dropped` names the answers that are forgotten now; `orphans` counts events whose answer never
    came, `unattributed` bought items that no answer had shown, `late` answers that came too late.
    """

    verdicts: list[Verdict] = []
    dropped: list[str] = []
    orphans: int = 0
    unattributed: int = 0
    late: int = 0


NOTHING = Output()
"""The output of a step that brings nothing about; shared, so never changed."""


def step(
    visitor: Visitor, record: Prediction | ShopEvent, windows: Windows, closed_ms: int
) -> Output:
    """Takes one input in; its verdicts are corrections of answers closed before it came.

    Args:
        visitor: the facts of its visitor, changed in place.
        record: the answer or the event.
        windows: the join's windows.
        closed_ms: event time that is closed already.
    """
    if isinstance(record, Prediction):
        return _step_answer(visitor, record, windows, closed_ms)
    return _step_event(visitor, record, windows, closed_ms)


def close(visitor: Visitor, watermark_ms: int, windows: Windows) -> Output:
    """What is due at the watermark, by (due time, prediction id), and what is forgotten."""
    output = Output()
    due = [each for each in visitor.answers.values() if each.due_ms <= watermark_ms]
    if len(due) == 1:
        while due[0].due_ms <= watermark_ms:
            _close_one(visitor, due[0], windows, output)
    elif due:
        for _, _, answer in _in_order(due, watermark_ms, windows):
            _close_one(visitor, answer, windows, output)
    if output.dropped or not visitor.answers:
        forget_before(visitor, watermark_ms - memory_ms(windows))
    if visitor.waiting:
        output.orphans = _orphans(visitor, watermark_ms - windows.skew_ms)
    return output


def _orphans(visitor: Visitor, until_ms: int) -> int:
    """How many named answers were waited for in vain; they are waited for no more."""
    given_up = [token for token, named_ms in visitor.waiting.items() if named_ms <= until_ms]
    for token in given_up:
        del visitor.waiting[token]
    return len(given_up)


def next_due(visitor: Visitor, windows: Windows) -> int | None:
    """The earliest event time at which `close` has something to do; None when nothing waits."""
    due_ms: int | None = None
    for answer in visitor.answers.values():
        if due_ms is None or answer.due_ms < due_ms:
            due_ms = answer.due_ms
    if visitor.waiting:
        waited_ms = min(visitor.waiting.values()) + windows.skew_ms
        return waited_ms if due_ms is None else min(due_ms, waited_ms)
    if due_ms is None and (visitor.touches or visitor.orders or visitor.refunds):
        return _newest_fact(visitor) + memory_ms(windows) + 1
    return due_ms


def _step_answer(
    visitor: Visitor, prediction: Prediction, windows: Windows, closed_ms: int
) -> Output:
    if prediction.prediction_id in visitor.answers:
        return NOTHING
    if prediction.served_at_ms + memory_ms(windows) <= closed_ms:
        return Output(late=1)
    shown = prediction.arm in SERVED_ARMS
    answer = Answer(
        prediction_id=prediction.prediction_id,
        served_at_ms=prediction.served_at_ms,
        session_id=prediction.session_id,
        shown=shown,
        items=[slot.item_id for slot in prediction.slots] if shown else [],
        due_ms=prediction.served_at_ms + plan(shown, windows).after_ms[0],
    )

    def take() -> None:
        visitor.answers[answer.prediction_id] = answer
        visitor.waiting.pop(answer.prediction_id, None)

    at_ms = prediction.served_at_ms
    affected = _closed_over(visitor, answer, windows)
    if not affected:
        take()
        return NOTHING
    return Output(verdicts=_correcting(visitor, affected, windows, (at_ms, take)))


def _step_event(visitor: Visitor, event: ShopEvent, windows: Windows, closed_ms: int) -> Output:
    at_ms = event.event_time_ms
    if at_ms < closed_ms - memory_ms(windows):
        if isinstance(event, PurchaseMade):
            _remember_bought(visitor, event)
        return NOTHING
    output, added = NOTHING, False
    affected = _affected(visitor, event, windows)
    if affected:

        def take() -> None:
            nonlocal added
            added = add_event(visitor, event)

        output = Output(verdicts=_correcting(visitor, affected, windows, (at_ms, take)))
    else:
        added = add_event(visitor, event)
    if added:
        _wait_for_answers(visitor, event)
        if isinstance(event, PurchaseMade):
            unattributed = _unattributed(visitor, event, windows)
            return msgspec.structs.replace(output, unattributed=unattributed)
    return output


def _remember_bought(visitor: Visitor, event: PurchaseMade) -> None:
    """Takes from an order that is too old to be credited what was bought and when at first."""
    for item in event.items:
        first = visitor.bought.get(item.item_id, event.event_time_ms)
        visitor.bought[item.item_id] = min(first, event.event_time_ms)


def _affected(visitor: Visitor, event: ShopEvent, windows: Windows) -> list[Answer]:
    """Closed answers whose verdict the event may change."""
    at_ms, items = event.event_time_ms, None
    if isinstance(event, RefundMade):
        orders = [o.at_ms for o in visitor.orders if o.transaction_id == event.transaction_id]
        if not orders:
            return []
        at_ms = min(orders)
    elif not isinstance(event, PurchaseMade):
        items = touched(event)  # any order counts in the baskets of all answers before it
    return [
        answer
        for answer in visitor.answers.values()
        if answer.closed
        and at_ms <= answer.served_at_ms + windows.purchase_ms
        and (items is None or not items.isdisjoint(answer.items))
    ]


def _closed_over(visitor: Visitor, new: Answer, windows: Windows) -> list[Answer]:
    """Closed answers that a new one may take credit from: those that show one of its items."""
    reach_ms = windows.purchase_ms + windows.skew_ms
    items = set(new.items)
    return [
        answer
        for answer in visitor.answers.values()
        if answer.closed
        and abs(answer.served_at_ms - new.served_at_ms) <= reach_ms
        and not items.isdisjoint(answer.items)
    ]


def _correcting(
    visitor: Visitor,
    affected: Sequence[Answer],
    windows: Windows,
    change: tuple[int, Callable[[], None]],
) -> list[Verdict]:
    """Carries the change (its event time, itself) out; what it corrects, once each."""
    at_ms, take = change
    befores = _read(visitor, affected, windows)
    take()
    corrections = []
    for answer, before, after in zip(
        affected, befores, _read(visitor, affected, windows), strict=True
    ):
        if after != before:
            answer.version += 1
            stated = corrected(before, after, answer.version)
            closed_ms = max(stated.closed_at_ms, at_ms)
            corrections.append(msgspec.structs.replace(stated, closed_at_ms=closed_ms))
    return corrections


def _read(visitor: Visitor, answers: Sequence[Answer], windows: Windows) -> list[Verdict]:
    """What closed answers came to."""
    listing = listing_of(visitor.answers.values()) if len(answers) > FEW else None
    return [verdict_of(visitor, each, FOREVER_MS, windows, None, listing) for each in answers]


def _close_one(visitor: Visitor, answer: Answer, windows: Windows, output: Output) -> None:
    """States the answer at its next age, or forgets it after the last."""
    due_ms = answer.due_ms
    if answer.closed:
        answer.due_ms = FOREVER_MS
        del visitor.answers[answer.prediction_id]
        output.dropped.append(answer.prediction_id)
        return
    ages, after_ms = plan(answer.shown, windows)
    age = ages[answer.stage]
    answer.stage += 1
    answer.version += 1
    answer.closed = age == FINAL
    answer.due_ms = answer.served_at_ms + after_ms[answer.stage]
    stated = (age, answer.version, due_ms)
    facts = verdict_of(visitor, answer, due_ms, windows, stated)
    output.verdicts.append(facts)
    if answer.closed and visitor.refunds:
        latest = verdict_of(visitor, answer, FOREVER_MS, windows, stated)
        if latest != facts:
            answer.version += 1
            output.verdicts.append(corrected(facts, latest, answer.version))


def _in_order(
    due: list[Answer], watermark_ms: int, windows: Windows
) -> list[tuple[int, str, Answer]]:
    """Every statement and forgetting due of several answers, in order."""
    moments = []
    for answer in due:
        for after_ms in plan(answer.shown, windows).after_ms[answer.stage :]:
            due_ms = answer.served_at_ms + after_ms
            if due_ms > watermark_ms:
                break
            moments.append((due_ms, answer.prediction_id, answer))
    return sorted(moments, key=lambda each: each[:2])


def _wait_for_answers(visitor: Visitor, event: ShopEvent) -> None:
    for token in tokens_of(event):
        if token not in visitor.answers:
            visitor.waiting.setdefault(token, event.event_time_ms)


def _unattributed(visitor: Visitor, event: PurchaseMade, windows: Windows) -> int:
    shown = {
        item_id
        for answer in visitor.answers.values()
        if answer.shown
        and answer.served_at_ms < event.event_time_ms <= answer.served_at_ms + windows.purchase_ms
        for item_id in answer.items
    }
    return len({item.item_id for item in event.items} - shown)


def _newest_fact(visitor: Visitor) -> int:
    moments = [order.at_ms for order in visitor.orders]
    moments += [refund.at_ms for refund in visitor.refunds]
    moments += [touch.at_ms for touches in visitor.touches.values() for touch in touches]
    return max(moments)
