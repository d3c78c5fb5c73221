"""How often a training was begun and not ended, and how many have failed in a row: over restarts.

A training that takes its process with it (no memory, a crash) would be begun anew by every start:
its retrain stays unanswered. So each beginning is noted in a file first. A disk that refuses costs
the memory of it, nothing else.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from adapters.private_file import replace_private
from schemas.errors import BadSettings

MOST = 3
"""Beginnings of one training; after so many that did not end it counts as failed."""
_REMEMBERED = 100

log = logging.getLogger(__name__)


class _Noted(msgspec.Struct):
    begun: dict[str, int] = {}
    in_a_row: dict[str, int] = {}


class Attempts:
    """The notes of one trainer.

    Args:
        path: their file; what cannot be read there is as if there were none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._noted = _Noted()
        try:
            self._noted = msgspec.json.decode(path.read_bytes(), type=_Noted)
        except FileNotFoundError:
            pass
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("former attempts are not known: %s", error)

    @property
    def in_a_row(self) -> dict[str, int]:
        """Trainings since the last version, by task."""
        return dict(self._noted.in_a_row)

    def begin(self, retrain_id: str) -> bool:
        """Notes that a training begins; False when it has taken its process with it too often."""
        before = self._noted.begun.pop(retrain_id, 0)
        self._noted.begun[retrain_id] = before + 1
        while len(self._noted.begun) > _REMEMBERED:
            del self._noted.begun[next(iter(self._noted.begun))]
        self._write()
        return before < MOST

    def end(self, retrain_id: str) -> None:
        """It has ended, well or not, or was given up in peace."""
        self._noted.begun.pop(retrain_id, None)
        self._write()

    def said(self, task: str, in_a_row: int) -> None:
        """So many trainings of the task have failed since its last version."""
        self._noted.in_a_row[task] = in_a_row
        self._write()

    def _write(self) -> None:
        try:
            replace_private(self._path, msgspec.json.encode(self._noted))
        except BadSettings as error:
            log.warning("attempts are not noted: %s", error)
