"""How an error becomes one line and an exit status: BadSettings 2, Unavailable 1.

Knows no command. Anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from schemas.errors import BadSettings, FeedbackError


def run_main(body: Callable[[], int]) -> int:
    """The status of `body`, or of the error it raised, printed as one line."""
    try:
        return body()
    except BadSettings as error:
        return _say(error, 2)
    except FeedbackError as error:
        return _say(error, 1)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        return 130


def _say(error: Exception, status: int) -> int:
    line = " ".join(str(error).split())
    sys.stderr.write(f"shoploop: {line}\n")
    return status
