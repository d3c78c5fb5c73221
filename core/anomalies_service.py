"""Answers that are too slow or degraded: their share against what is promised.

Spans of five minutes of event time; an alarm wants the share to be far over what is promised, in
several spans, so that one pause of one process is none. Knows no clock and no stream.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from core.anomalies_shares import Z

SPAN_MS = 300_000
LONGEST_SPANS = 288
LEAST_N = 200
LEAST_SPANS = 3
_EFFECT = 2.0


class Promise(NamedTuple):
    """The share of bad answers that is promised not to be exceeded."""

    share: float


SLOW = Promise(0.01)
DEGRADED = Promise(0.05)


class ServiceSpans(msgspec.Struct):
    """Bad answers by span as [span, bad, n]; the last one is still filling."""

    promised: float
    spans: list[list[int]] = []

    def add(self, at_ms: int, bad: bool) -> bool | None:
        """Takes in one answer; a verdict about the spans before its own when it begins a new one.

        >>> spans = ServiceSpans(0.01)
        >>> said = [spans.add(i * SPAN_MS // 100, i >= 400) for i in range(801)]
        >>> [verdict for verdict in said if verdict is not None]
        [False, False, False, True, True]
        """
        span = at_ms // SPAN_MS
        if self.spans and span <= self.spans[-1][0]:
            self.spans[-1][1] += bad
            self.spans[-1][2] += 1
            return None
        verdict = self._verdict(span) if self.spans else None
        self.spans.append([span, int(bad), 1])
        if self.spans[0][0] < span - LONGEST_SPANS:
            self.spans = [each for each in self.spans if each[0] >= span - LONGEST_SPANS]
        return verdict

    def share(self) -> tuple[float, int]:
        """The newest share and how many answers it is of, the span that is filling left out."""
        found = self._newest()
        bad, n = sum(each[1] for each in found), sum(each[2] for each in found)
        return (bad / n if n else 0.0), n

    def _verdict(self, span: int) -> bool | None:
        found = self._newest(len(self.spans))
        found = [each for each in found if each[0] >= span - LONGEST_SPANS]
        bad, n = sum(each[1] for each in found), sum(each[2] for each in found)
        if n < LEAST_N:
            return None
        if bad <= self.promised * n:
            return False
        spread = math.sqrt(self.promised * (1 - self.promised) * n)
        far = bad >= max(_EFFECT * self.promised * n, self.promised * n + Z * spread)
        spans = sum(each[1] > self.promised * each[2] for each in found)
        return True if far and spans >= LEAST_SPANS else None

    def _newest(self, upto: int | None = None) -> list[list[int]]:
        """The fewest newest whole spans that hold enough answers, at least `LEAST_SPANS`."""
        found: list[list[int]] = []
        n = 0
        end = len(self.spans) - 1 if upto is None else upto
        for each in reversed(self.spans[:end]):
            found.append(each)
            n += each[2]
            if n >= LEAST_N and len(found) >= LEAST_SPANS:
                break
        return found
