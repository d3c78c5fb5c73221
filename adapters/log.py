"""Logging of a process: one JSON object a line on standard error. Called by `__main__` alone.

Of an exception that was not raised on purpose a line tells the kind and the places it passed, not
its text: that may quote a shopper's id or what they wrote, and a log cannot be made to forget.
"""

import json
import logging
import sys
import time
import traceback

from schemas.errors import FeedbackError

_MOST_CAUSES = 5


class JsonLines(logging.Formatter):
    """Formats a log record as one JSON object."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON with UTC time, level, process, logger and message."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = without_values(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False)


def without_values(error: BaseException | None) -> str:
    """The places an exception passed and its kind, those of its causes first; texts of ours alone.

    >>> try:
    ...     {}["v-17850"]
    ... except KeyError as error:
    ...     print(without_values(error).splitlines()[-1])
    KeyError
    """
    parts: list[str] = []
    while error is not None and len(parts) < _MOST_CAUSES:
        said = f": {error}" if isinstance(error, FeedbackError) else ""
        places = "".join(traceback.format_tb(error.__traceback__))
        parts.append(f"{places}{type(error).__qualname__}{said}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(reversed(parts))


def set_up(level: str, process: str) -> None:
    """Sends every logger of this process to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("faust", "mode", "aiokafka", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
