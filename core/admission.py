"""Whether a request may wait its turn, or is refused at once because it would wait in vain.

Holds the rule and the mean it goes by; knows no queue, no clock and no transport.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from core.settings import Settings
from schemas.errors import BadSettings

Reason = Literal["over_share", "over_capacity"]

_FORGET = 0.05  # of one request: a mean over about the last twenty
_LEAST_RETRY_S, _MOST_RETRY_S = 1.0, 30.0


@dataclass(frozen=True)
class Limits:
    """What a queue of requests may hold.

    Args:
        deadline_s: how long an answer may take when its request does not say, in seconds.
        waiting: most requests that wait at once.
        share: part of these places that one caller may hold, above 0 up to 1.
        batch: most requests answered in one pass.
    """

    deadline_s: float = 1.0
    waiting: int = 512
    share: float = 0.5
    batch: int = 32

    @property
    def places_of_a_caller(self) -> int:
        """Most requests of one caller that wait at once, at least one."""
        return max(1, int(self.share * self.waiting))


def limits_of(settings: Settings) -> Limits:
    """The limits that the operator has set.

    Raises:
        BadSettings: one of them leaves no place for any request.
    """
    if settings.deadline_ms < 1 or settings.waiting_requests < 1:
        raise BadSettings("SHOPLOOP_DEADLINE_MS and SHOPLOOP_WAITING_REQUESTS must be 1 or more")
    if not 0.0 < settings.caller_share <= 1.0:
        raise BadSettings(
            f"SHOPLOOP_CALLER_SHARE={settings.caller_share}: expected above 0, at most 1"
        )
    return Limits(settings.deadline_ms / 1e3, settings.waiting_requests, settings.caller_share)


@dataclass(frozen=True)
class Pace:
    """Seconds a request takes its worker, as a mean that forgets; zero before the first.

    >>> Pace().measured(0.2, 10).request_s
    0.02
    >>> round(Pace(0.02).measured(0.4, 10).request_s, 4)  # ten samples of 40 ms
    0.028
    """

    request_s: float = 0.0

    def measured(self, took_s: float, requests: int) -> Pace:
        """After a pass that took `took_s` for so many requests, at least one."""
        sample = took_s / requests
        if self.request_s == 0.0:
            return replace(self, request_s=sample)
        weight = 1.0 - (1.0 - _FORGET) ** requests
        return replace(self, request_s=self.request_s + weight * (sample - self.request_s))


@dataclass(frozen=True)
class Load:
    """What is before a new request: how many wait or are being answered, and of these how many
    are its caller's; None for a caller without a share to keep to."""

    ahead: int
    pace: Pace
    of_caller: int | None = None

    @property
    def wait_s(self) -> float:
        """Seconds until a new request would have its answer."""
        return (self.ahead + 1) * self.pace.request_s


@dataclass(frozen=True)
class Refusal:
    """Why a request may not wait, and after how many seconds it is worth another try."""

    reason: Reason
    retry_after_s: float


def admit(load: Load, limits: Limits, deadline_s: float, requests: int = 1) -> Refusal | None:
    """None when the requests may wait, else why not.

    With nobody ahead all are admitted: however slow the last answers were, the next one says how
    it is now, so that a process cannot lock itself out by what it remembers.

    >>> slow = Pace(0.1)
    >>> admit(Load(5, slow), Limits(), deadline_s=1.0) is None
    True
    >>> admit(Load(15, slow), Limits(), deadline_s=1.0)
    Refusal(reason='over_capacity', retry_after_s=2.0)
    >>> admit(Load(300, Pace(0.001), 256), Limits(), deadline_s=1.0)
    Refusal(reason='over_share', retry_after_s=1.0)
    """
    if load.ahead == 0:
        return None
    own = load.of_caller
    if own is not None and own + requests > limits.places_of_a_caller:
        return Refusal("over_share", _retry(own * load.pace.request_s))
    last_s = load.wait_s + (requests - 1) * load.pace.request_s
    if load.ahead + requests > limits.waiting or last_s > deadline_s:
        return Refusal("over_capacity", _retry(load.wait_s))
    return None


def _retry(wait_s: float) -> float:
    """Whole seconds: Retry-After has no smaller unit. Source: RFC 9110, section 10.2.3."""
    return float(math.ceil(min(max(wait_s, _LEAST_RETRY_S), _MOST_RETRY_S)))
