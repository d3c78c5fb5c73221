"""When an event may change the state: at once in live time, as barriers close in replay.

Holds the events that wait and the newest watermark of each partition that has a say. It knows no
Kafka, no state and no wall clock.
"""

from collections.abc import Iterable

from schemas.events import EventWatermark, ShopEvent
from schemas.watermarks import Watermark

Mark = Watermark | EventWatermark
Source = tuple[str, int]


class EventMerge:
    """Events in, events out in (event time, event id) order.

    The first watermark puts it into barrier time: from then on an event comes out once every source
    has a watermark of the same run that is not older. When the final watermark has come from every
    source, everything comes out and time is live again.

    >>> merge = EventMerge()
    >>> merge.expect("events.valid", range(2))
    >>> merge.in_replay, merge.closed
    (False, None)
    """

    def __init__(self) -> None:
        self.closed: Mark | None = None
        self._marks: dict[Source, Mark | None] = {}
        self._waiting: list[tuple[int, str, ShopEvent]] = []

    def expect(self, topic: str, partitions: Iterable[int], mark: Mark | None = None) -> None:
        """Says which partitions of a topic have a say, replacing what was said of the topic."""
        others = {source: held for source, held in self._marks.items() if source[0] != topic}
        known = {number: self._marks.get((topic, number)) or mark for number in partitions}
        self._marks = others | {(topic, number): held for number, held in known.items()}

    @property
    def in_replay(self) -> bool:
        """True between the first watermark of a run and its final one."""
        return any(mark is not None for mark in self._marks.values())

    @property
    def waiting(self) -> int:
        """How many events have come and not gone out."""
        return len(self._waiting)

    @property
    def level(self) -> bool:
        """True when nothing waits and every source stands at the same watermark, or none does."""
        return not self._waiting and len(set(map(_place, self._marks.values()))) <= 1

    def add(self, event: ShopEvent) -> None:
        """Takes in one event; repeats are the reader's affair."""
        self._waiting.append((event.event_time_ms, event.event_id, event))

    def mark(self, topic: str, partition: int, mark: Mark) -> None:
        """Takes in a watermark; passed over: no say, or a repeat from the run that has ended."""
        ended = self.closed if not self.in_replay else None
        if ended is not None and ended.final and mark.run_id == ended.run_id:
            return
        if (topic, partition) in self._marks:
            self._marks[(topic, partition)] = mark

    def take(self, until_ms: int | None = None) -> list[ShopEvent]:
        """The events that may be applied now; `until_ms` holds back newer ones in live time."""
        if not self.in_replay:
            return self._out(until_ms)
        marks = list(self._marks.values())
        runs = {mark.run_id if mark is not None else None for mark in marks}
        if len(runs) > 1:
            return []
        lowest = min((mark for mark in marks if mark is not None), key=lambda m: m.event_time_ms)
        self.closed = lowest
        if all(mark is not None and mark.final for mark in marks):
            self._marks = dict.fromkeys(self._marks)
            return self._out(None)
        return self._out(lowest.event_time_ms)

    def _out(self, until_ms: int | None) -> list[ShopEvent]:
        self._waiting.sort(key=lambda entry: entry[:2])
        count = len(self._waiting)
        if until_ms is not None:
            count = sum(1 for entry in self._waiting if entry[0] <= until_ms)
        ready = [event for _, _, event in self._waiting[:count]]
        del self._waiting[:count]
        return ready


def _place(mark: Mark | None) -> tuple[str, int] | None:
    return None if mark is None else (mark.run_id, mark.event_time_ms)
