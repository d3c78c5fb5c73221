"""Obeys `models` for text tasks: loads, verifies, warms up, swaps; or refuses, with why.

As `serving/versions.py` does for the task that shoppers see, less roles: a text task has a champion
alone. It has a thread and a reader of its own, so that a heavy graph holds up nothing else.
A new search version takes over once it has the vectors that the former one has, so that no search
is the worse for a swap; the former one answers meanwhile.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from adapters.artefacts import ArtefactStore
from adapters.clock import breathe, wall_ms
from adapters.home import artefacts_url, home_of
from adapters.kafka import Follower
from adapters.signing import load_verify_key
from adapters.text_version import SearchVersion, TextVersion, load_text_version
from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder
from schemas.errors import BadSettings, InvalidEvent, RejectedModel, Unavailable
from schemas.ids import derived_id
from schemas.models import ModelLog, ModelPointer

POLL_S = 0.2
RETRY_S = 0.5
WARM_UPS = ("", "a red cup", "a red cup " * 20)

_T = TypeVar("_T")
Covers = Callable[[str, str], bool]
"""Whether a version has the vectors that another one has; called with both names."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preparing:
    """A search version that is to take over, since when, and the pointer that wants it."""

    version: SearchVersion
    pointer: ModelPointer
    live: bool
    since_s: float


class TextVersions:
    """The versions in use by task, and the thread's work that renews them.

    Args:
        settings: which tasks are served, and where artefacts are.
        process: the name under which it answers on `model_log`.
        announce: takes each `model_log` entry.
        covers: whether a new search version has the vectors of the former one.
        clock: seconds.
    """

    def __init__(
        self,
        settings: Settings,
        process: str,
        announce: Callable[[ModelLog], None],
        covers: Covers = lambda _, __: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.loaded: Mapping[str, TextVersion] = {}
        self.preparing: Mapping[str, Preparing] = {}
        self.known: frozenset[str] = frozenset(settings.served_task_names)
        self.swaps = 0
        self.refusals = 0
        self.settled = False
        self.caught_up = False  # whether it is known which tasks there are
        self._settings = settings
        self._process = process
        self._announce = announce
        self._covers = covers
        self._clock = clock
        self._prepared_s = settings.search_prepared_ms / 1e3
        self._store = ArtefactStore(artefacts_url(settings))
        self._wanted: dict[str, tuple[ModelPointer, bool]] = {}
        self._decode = Decoder(ModelPointer)

    @property
    def size_bytes(self) -> int:
        """Bytes of the graphs and tokenizers in use, and of those about to be."""
        return sum(version.size_bytes for version in self.held)

    @property
    def held(self) -> list[TextVersion]:
        """The versions in use, then those that are to take over."""
        # Read first: one that takes over meanwhile is held twice rather than not at all.
        coming = [one.version for one in self.preparing.values()]
        return [*self.loaded.values(), *coming]

    def follow(self, stopping: threading.Event) -> None:
        """Obeys until stopped.

        Raises:
            Unavailable: the broker reported an error that does not pass.
        """
        follower = Follower(self._settings, [topics.MODELS])
        try:
            while not stopping.is_set():
                live = follower.caught_up
                for _, message in follower.poll(POLL_S):
                    self._take(message.value(), live)
                if follower.caught_up:
                    self.caught_up = True
                    self.obey(stopping)
        finally:
            follower.close()

    def want(self, pointer: ModelPointer, *, live: bool) -> None:
        """Takes in a pointer of a served text task; only the newest of each counts."""
        names = self._settings.served_task_names
        if pointer.task == self._settings.task or (names and pointer.task not in names):
            return
        self.known |= {pointer.task}
        self._wanted[pointer.task] = (pointer, live)

    def obey(self, stopping: threading.Event) -> None:
        """Carries out what is wanted; what cannot be read now stays wanted."""
        for task, (pointer, live) in list(self._wanted.items()):
            try:
                self._carry_out(pointer, live)
            except (Unavailable, BadSettings) as error:
                if isinstance(error, BadSettings) and not live:
                    raise  # at start; a key file that goes bad later ends no answers
                log.warning("will try again: %s", error)
                stopping.wait(RETRY_S)
                continue
            del self._wanted[task]
        self._take_over()
        self.settled = not self._wanted

    def _take(self, value: bytes | None, live: bool) -> None:
        if value is None:
            return
        try:
            self.want(self._decode(value), live=live)
        except InvalidEvent as error:
            log.warning("passed over a pointer: %s", error)

    def _carry_out(self, pointer: ModelPointer, live: bool) -> None:
        name, former = pointer.champion, self.loaded.get(pointer.task)
        coming = self.preparing.get(pointer.task)
        if coming is not None and coming.version.version == name:
            return
        if name is None:
            self.loaded = _without(self.loaded, pointer.task)
        if name is None or (former is not None and former.version == name):
            self.preparing = _without(self.preparing, pointer.task)
            return
        try:
            version = self._load(pointer, name)
        except RejectedModel as error:
            log.error("refused version %s: %s: %s", name, error.reason, error)
            self.refusals += 1
            self._say("refused", pointer, reason=f"{error.reason}: {error}")
            return
        if isinstance(version, SearchVersion) and isinstance(former, SearchVersion):
            coming = Preparing(version, pointer, live, self._clock())
            self.preparing = {**self.preparing, pointer.task: coming}
        else:
            self.preparing = _without(self.preparing, pointer.task)
            self._swap(version, pointer, live)

    def _take_over(self) -> None:
        """Swaps to those that are prepared, or have been preparing for too long."""
        for task, coming in self.preparing.items():
            name, former = coming.version.version, self.loaded[task].version
            if not self._covers(name, former):
                if self._clock() - coming.since_s < self._prepared_s:
                    continue
                log.warning("version %s takes over without all vectors of %s", name, former)
            self._swap(coming.version, coming.pointer, coming.live)
            self.preparing = _without(self.preparing, task)

    def _swap(self, version: TextVersion, pointer: ModelPointer, live: bool) -> None:
        self.loaded = {**self.loaded, pointer.task: version}
        self.swaps += 1
        took_ms = wall_ms() - pointer.announced_wall_ms if live else None
        self._say("swapped", pointer, took_ms=took_ms)

    def _load(self, pointer: ModelPointer, name: str) -> TextVersion:
        started = time.perf_counter()
        key = load_verify_key(home_of(self._settings))
        announced = pointer.manifest_sha256.get(name, "")
        version = load_text_version(self._store, pointer.task, name, key, announced, breathe)
        for text in WARM_UPS:
            if isinstance(version, SearchVersion):
                version.query_vectors([text])
                version.pair_logits(text, WARM_UPS)
            else:
                version.outputs([(text, "")])
        took_ms = (time.perf_counter() - started) * 1e3
        log.info("loaded version %s of %s in %.0f ms", name, pointer.task, took_ms)
        return version

    def _say(
        self, kind: str, pointer: ModelPointer, *, reason: str = "", took_ms: float | None = None
    ) -> None:
        version = str(pointer.champion)
        self._announce(
            ModelLog(
                log_id=derived_id(
                    kind, self._process, pointer.task, version, str(pointer.sequence)
                ),
                task=pointer.task,
                model_version=version,
                kind="swapped" if kind == "swapped" else "refused",
                event_time_ms=pointer.event_time_ms,
                reason=reason,
                process=self._process,
                announce_to_swap_ms=took_ms,
            )
        )


def _without(held: Mapping[str, _T], task: str) -> dict[str, _T]:
    return {name: one for name, one in held.items() if name != task}
