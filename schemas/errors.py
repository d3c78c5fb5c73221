"""Errors, named by what the caller does next.

FeedbackError
├── InvalidEvent     the data's fault      → dead letter, count, continue
├── RejectedModel    the artefact's fault  → keep the champion, say why, continue
├── Denied           the caller's fault    → answer with its status, count, continue
├── Unavailable      the world's fault     → retry with backoff to a deadline, then exit 1
│   ├── Overloaded        too much is asked     → ask again after `retry_after_s`
│   └── DeadlineExceeded  it came too late      → do without, or ask again
└── BadSettings      the operator's fault  → one line naming the variable, exit 2

Anything else that is raised is a bug and crashes the process.
"""

from collections.abc import Sequence


class FeedbackError(Exception):
    """The root of every error that shoploop raises on purpose."""


class InvalidEvent(FeedbackError):
    """A record cannot be used; `reason` is a short stable word, the message says which and why."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class RejectedModel(FeedbackError):
    """A model version cannot be served; `reason` is a short stable word."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Denied(FeedbackError):
    """A caller may not ask this; `reason` is a short stable word, `headers` go with the answer."""

    def __init__(
        self, status: int, reason: str, message: str, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.headers = tuple(headers)


class Unavailable(FeedbackError):
    """Something outside did not answer in time."""


class Overloaded(Unavailable):
    """A request is refused unanswered because too many wait.

    `by_caller` says that this caller alone has too many; else the process has.
    """

    def __init__(self, message: str, retry_after_s: float, *, by_caller: bool = False) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.by_caller = by_caller


class DeadlineExceeded(Unavailable):
    """An answer could not be given within the time that its request allowed."""


class BadSettings(FeedbackError):
    """A setting is missing, unknown or out of range; the message names it."""
