"""The rules file that `SHOPLOOP_RULES` names: read at start, followed while the process runs.

A new file that is wrong is refused as a whole: the rules that were in force stay.
"""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

from core.rule_book import RuleBook
from core.rules import parse_rules
from core.settings import Settings
from schemas.errors import BadSettings

Seen = tuple[int, int, int]

log = logging.getLogger(__name__)


class RulesFile:
    """The rule book in use. One thread looks after the file; any may read `book`.

    Args:
        settings: names the file; without one there are no rules and filters alone are obeyed.
        limits: whether exposure is limited, see `RuleBook`.
        noted: called with "accepted" or "refused" for every file that was read.

    Raises:
        BadSettings: the file cannot be read or is wrong; names every mistake with its place.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        limits: bool = True,
        noted: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._path = Path(settings.rules) if settings.rules else None
        self._noted = noted
        self._seen: Seen | None = None
        self.book = RuleBook(limits=limits)
        if self._path is not None:
            self._seen = _seen(self._path)
            self._read(self._path)

    def look(self) -> None:
        """Reads the file again if it has changed; says why where it is refused."""
        if self._path is None:
            return
        seen = _seen(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._read(self._path)
        except BadSettings as error:
            self._noted("refused")
            log.error("the rules stay as they were: %s", error)
        else:
            log.info("rules %s are in force", self.book.name)

    def _read(self, path: Path) -> None:
        try:
            text = path.read_bytes()
            rules = parse_rules(text)
        except OSError as error:
            raise BadSettings(f"SHOPLOOP_RULES={path}: {error.strerror}") from error
        except BadSettings as error:
            raise BadSettings(f"SHOPLOOP_RULES={path}: {error}") from error
        self.book = self.book.followed_by(rules, hashlib.sha256(text).hexdigest()[:16])
        self._noted("accepted")


def _seen(path: Path) -> Seen | None:
    """What changes when the file does; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
