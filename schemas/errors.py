"""Errors, named by what the caller does next.

FeedbackError
├── InvalidEvent     the data's fault      → dead letter, count, continue
├── RejectedModel    the artefact's fault  → keep the champion, say why, continue
├── Unavailable      the world's fault     → retry with backoff to a deadline, then exit 1
└── BadSettings      the operator's fault  → one line naming the variable, exit 2

Anything else that is raised is a bug and crashes the process.
"""


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


class Unavailable(FeedbackError):
    """Something outside did not answer in time."""


class BadSettings(FeedbackError):
    """A setting is missing, unknown or out of range; the message names it."""
