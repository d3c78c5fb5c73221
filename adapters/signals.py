"""What SIGTERM and SIGINT do to a process, from its first line to its last.

A process begins with `leave_at_once`, says `stop_with` once it holds something to finish, and ends
with `leave_in_peace`: whenever a signal comes, the status is 0.
"""

import os
import signal
from collections.abc import Callable

STOPPING = (signal.SIGTERM, signal.SIGINT)


def leave_at_once() -> None:
    """From here on a signal ends the process with status 0: there is nothing to finish yet.

    Not by an exception: one raised inside an import or a destructor may be swallowed there.
    """
    stop_with(lambda: os._exit(0))


def stop_with(stop: Callable[[], object]) -> None:
    """From here on a signal calls `stop`, in the main thread, between any two of its steps."""
    for number in STOPPING:
        signal.signal(number, lambda _number, _frame: stop())


def leave_in_peace() -> None:
    """From here on signals change nothing: the process is ending.

    The interpreter puts the default action back for handlers of Python while it ends, so that a
    second SIGTERM would show as a death by signal; a signal that is ignored stays ignored.
    """
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
