"""A stage's store kept twice: on this machine, and as snapshots beside the artefacts.

A worker without a local store begins with the newest snapshot; the inputs after it are stepped
again. Snapshots are directories, so the artefacts must be on a file URL; elsewhere none are taken
and lost state is stepped from the topics.
"""

import logging
import os
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

from adapters.home import artefacts_url, home_of
from core.settings import Settings
from streams.store import Store, begin_from

logger = logging.getLogger(__name__)
EVERY_MS = 60_000
KEPT = 2
_SUFFIX = ".rocksdb"


class Snapshots:
    """Snapshots of one stage of one worker, newest two kept."""

    def __init__(self, settings: Settings, short: str) -> None:
        worker = settings.name or "streams"
        self._local = home_of(settings) / "streams" / worker / (short + _SUFFIX)
        url = urlsplit(artefacts_url(settings))
        kept = Path(unquote(url.path)) if url.scheme == "file" else None
        self._kept = kept / "state" / "streams" / worker / short if kept else None
        self._taken_ms = 0
        self._taken_batch = -1

    def open_store(self) -> Store:
        """The local store; where there is none, begun from the newest snapshot."""
        if not self._local.exists() and (found := self._found()):
            self._local.parent.mkdir(parents=True, exist_ok=True)
            begin_from(found[-1], self._local)
            logger.info("state begun from snapshot %s", found[-1].name)
        return Store(self._local)

    def maybe_take(self, store: Store, now_ms: int) -> None:
        """Takes a snapshot when the last is old."""
        if self._taken_ms == 0:
            self._taken_ms = now_ms
        if now_ms - self._taken_ms >= EVERY_MS:
            self._taken_ms = now_ms
            self.take(store)

    def take(self, store: Store) -> None:
        """Takes a snapshot when something was written since the last."""
        if self._kept is None or store.batch == self._taken_batch:
            return
        self._kept.mkdir(parents=True, exist_ok=True)
        path = self._kept / f"{store.batch:016d}{_SUFFIX}"
        unfinished = path.with_suffix(".unfinished")
        for stale in (unfinished, path):
            shutil.rmtree(stale, ignore_errors=True)
        store.back_up(unfinished)
        os.replace(unfinished, path)
        self._taken_batch = store.batch
        for old in self._found()[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def _found(self) -> list[Path]:
        return sorted(self._kept.glob("*" + _SUFFIX)) if self._kept else []
