"""What a call can end in besides its reply, named by what the caller does next.

ShoploopError
├── Refused        the call's fault        → mend it; trying again changes nothing
├── Busy           the server says not now → come back after `retry_after_s`
└── Unreachable    no answer came          → come back later
"""

from schemas.http import Problem


class ShoploopError(Exception):
    """The root of what a client raises."""


class Refused(ShoploopError):
    """The server refused the call; `problem` says why, and `problem.errors` where."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.status} {problem.title}: {problem.detail}")
        self.problem = problem


class Busy(ShoploopError):
    """The server could not answer now, also after the retries that the client was allowed."""

    def __init__(self, problem: Problem, retry_after_s: float) -> None:
        super().__init__(f"{problem.status} {problem.title}: {problem.detail}")
        self.problem = problem
        self.retry_after_s = retry_after_s


class Unreachable(ShoploopError):
    """No answer came over the network, also after the retries that the client was allowed."""
