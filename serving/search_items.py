"""The items as search finds them, kept up with `items`: index, vectors and the book of terms.

It has a reader and a thread of its own, so that a heavy catalogue holds up no recommendation;
vectors are made in another, of lower priority. What is found is ordered elsewhere.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from confluent_kafka import Message

from adapters.kafka import Follower
from adapters.tantivy_index import ItemIndex
from adapters.text_version import SearchVersion, TextVersion
from adapters.vector_cache import VectorCache
from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder
from schemas.errors import InvalidEvent
from schemas.items import Item
from serving.item_vectors import ItemVectors
from serving.past import deleted
from serving.search_book import SearchBook, read_item

POLL_S = 0.2
COMMIT_EVERY_S = 1.0
COMMIT_AFTER = 20_000
AT_ONCE = 50  # items taken in while answers wait
IDLE_S = 0.2
LOW_PRIORITY = 10

log = logging.getLogger(__name__)


class SearchItems:
    """Whoever reads `book` holds `lock`.

    Args:
        settings: where Kafka is.
        process: names this replica's file of vectors.
        folder: where vectors are kept.
    """

    def __init__(self, settings: Settings, process: str, folder: Path) -> None:
        self.lock = threading.Lock()
        self.book = SearchBook()
        self.index = ItemIndex()
        self.vectors: Mapping[str, ItemVectors] = {}
        self.caught_up = False
        self._settings = settings
        self._process = process
        self._folder = folder
        self._decode = Decoder(Item)
        self._committed_s = 0.0

    def share(self, version: str) -> float:
        """Part of the items that have a vector under this version."""
        vectors = self.vectors.get(version)
        return vectors.share if vectors is not None else 0.0

    def covers(self, version: str, former: str) -> bool:
        """Whether a version has a vector of every item of which the former one has one."""
        new, old = self.vectors.get(version), self.vectors.get(former)
        return new is not None and (old is None or new.covers(old))

    @property
    def vectors_bytes(self) -> int:
        """Bytes of the vectors under all versions."""
        return sum(each.size_bytes for each in self.vectors.values())

    def follow(self, stopping: threading.Event) -> None:
        """Reads `items` until stopped.

        Raises:
            Unavailable: the broker reported an error that does not pass.
        """
        follower = Follower(self._settings, [topics.ITEMS])
        try:
            while not stopping.is_set():
                found = follower.poll(POLL_S)
                for start in range(0, len(found), AT_ONCE):
                    self._take([message for _, message in found[start : start + AT_ONCE]])
                self._commit_when_due(follower.caught_up)
        finally:
            follower.close()

    def embed(self, loaded: Callable[[], Iterable[TextVersion]], stopping: threading.Event) -> None:
        """Makes vectors under the search versions in use, or about to be, until stopped."""
        with contextlib.suppress(OSError, AttributeError):  # where threads have no priorities
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOW_PRIORITY)
        while not stopping.is_set():
            self.begin([one for one in loaded() if isinstance(one, SearchVersion)])
            # The newest first, so that it is not for ever behind by what the former just made.
            if not sum(each.embed() for each in reversed(list(self.vectors.values()))):
                stopping.wait(IDLE_S)

    def begin(self, versions: Sequence[SearchVersion]) -> None:
        """Has vectors made under these versions, and forgets those of others."""
        if {one.version for one in versions} == set(self.vectors):
            return
        held = {name: self.vectors.get(name) for name in (one.version for one in versions)}
        fresh = {one.version: self._vectors(one) for one in versions if held[one.version] is None}
        with self.lock:
            titles = list(enumerate(self.book.catalogue.titles))
            kept = {name: each for name, each in held.items() if each is not None}
            self.vectors = {**kept, **fresh}
        for each in fresh.values():
            for row, title in titles:
                each.want(row, title, anew=False)

    def put(self, items: Sequence[Item]) -> None:
        """Takes in items; searches find their words after the next `commit`."""
        read = [read_item(item) for item in items]
        with self.lock:
            indexed = [self.book.put(one) for one in read]
            vectors = list(self.vectors.values())
        for one, known in zip(read, indexed, strict=True):
            for each in vectors:
                each.want(known.row, one.title)
        self.index.put(indexed)

    def drop(self, item_id: str) -> None:
        """Takes an item out: the shop has deleted it."""
        row = self.book.catalogue.row_of.get(item_id)
        if row is not None:
            self.put([deleted(item_id)])
            self.index.remove(row)

    def _vectors(self, version: SearchVersion) -> ItemVectors:
        cache = VectorCache(self._folder, version.version, self._process, version.width)
        return ItemVectors(version, cache)

    def _take(self, messages: Sequence[Message]) -> None:
        items: list[Item] = []
        for message in messages:
            value = message.value()
            if value is None:
                self.put(items)
                items.clear()
                self.drop((message.key() or b"").decode("utf-8", "replace"))
                continue
            try:
                items.append(self._decode(value))
            except InvalidEvent as error:
                log.warning("passed over an item: %s", error.reason)
        self.put(items)

    def _commit_when_due(self, caught_up: bool) -> None:
        first, self.caught_up = caught_up and not self.caught_up, self.caught_up or caught_up
        due = self.caught_up and time.monotonic() - self._committed_s > COMMIT_EVERY_S
        if first or self.index.pending > (0 if due else COMMIT_AFTER):
            self.index.commit()
            self._committed_s = time.monotonic()
