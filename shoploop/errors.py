"""What a call can end in besides its reply, named by what the caller does next.

ShoploopError
├── Refused        the call's fault        → mend it; trying again changes nothing
├── Busy           the server says not now → come back after `retry_after_s`
└── Unreachable    no answer came          → come back later
"""

from schemas.http import Problem

_ERRORS_SAID = 3


class ShoploopError(Exception):
    """The root of what a client raises."""


class Refused(ShoploopError):
    """The server refused the call; `problem` says why, and `problem.errors` where."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(said(problem))
        self.problem = problem


class Busy(ShoploopError):
    """The server could not answer now, also after the retries that the client was allowed."""

    def __init__(self, problem: Problem, retry_after_s: float) -> None:
        super().__init__(said(problem))
        self.problem = problem
        self.retry_after_s = retry_after_s


class Unreachable(ShoploopError):
    """No answer came over the network, also after the retries that the client was allowed."""


def said(problem: Problem) -> str:
    """A problem in one line, with the first things that are wrong in a list.

    >>> from schemas.http import ProblemError
    >>> wrong = ProblemError(reason="invalid", message="Expected `int` - at `$.k`", index=2)
    >>> said(Problem(type="t", title="No", status=400, detail="none was taken", errors=[wrong]))
    '400 No: none was taken; [2] Expected `int` - at `$.k`'
    """
    parts = [f"{problem.status} {problem.title}: {problem.detail}"]
    for error in problem.errors[:_ERRORS_SAID]:
        if error.message not in problem.detail:
            parts.append(
                error.message if error.index is None else f"[{error.index}] {error.message}"
            )
    return "; ".join(parts)
