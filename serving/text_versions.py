"""Obeys `models` for text tasks: loads, verifies, warms up, swaps; or refuses, with why.

As `serving/versions.py` does for the task that shoppers see, less roles: a text task has a champion
alone. It has a thread and a reader of its own, so that a heavy graph holds up nothing else.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping

from adapters.artefacts import ArtefactStore
from adapters.clock import wall_ms
from adapters.home import artefacts_url, home_of
from adapters.kafka import Follower
from adapters.signing import load_verify_key
from adapters.text_version import SearchVersion, TextVersion, load_text_version
from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder
from schemas.errors import InvalidEvent, RejectedModel, Unavailable
from schemas.ids import derived_id
from schemas.models import ModelLog, ModelPointer

POLL_S = 0.2
RETRY_S = 0.5
WARM_UPS = ("", "a red cup", "a red cup " * 20)

log = logging.getLogger(__name__)


class TextVersions:
    """The versions in use by task, and the thread's work that renews them.

    Args:
        settings: which tasks are served, and where artefacts are.
        process: the name under which it answers on `model_log`.
        announce: takes each `model_log` entry.
    """

    def __init__(
        self, settings: Settings, process: str, announce: Callable[[ModelLog], None]
    ) -> None:
        self.loaded: Mapping[str, TextVersion] = {}
        self.known: frozenset[str] = frozenset(settings.served_task_names)
        self.swaps = 0
        self.refusals = 0
        self.settled = False
        self.caught_up = False  # whether it is known which tasks there are
        self._settings = settings
        self._process = process
        self._announce = announce
        self._store = ArtefactStore(artefacts_url(settings))
        self._wanted: dict[str, tuple[ModelPointer, bool]] = {}
        self._decode = Decoder(ModelPointer)

    @property
    def size_bytes(self) -> int:
        """Bytes of the graphs and tokenizers in use."""
        return sum(version.size_bytes for version in self.loaded.values())

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
            except Unavailable as error:
                log.warning("will try again: %s", error)
                stopping.wait(RETRY_S)
                continue
            del self._wanted[task]
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
        if name is None:
            self.loaded = {t: v for t, v in self.loaded.items() if t != pointer.task}
            return
        if former is not None and former.version == name:
            return
        try:
            version = self._load(pointer, name)
        except RejectedModel as error:
            log.error("refused version %s: %s: %s", name, error.reason, error)
            self.refusals += 1
            self._say("refused", pointer, reason=f"{error.reason}: {error}")
            return
        self.loaded = {**self.loaded, pointer.task: version}
        self.swaps += 1
        took_ms = wall_ms() - pointer.announced_wall_ms if live else None
        self._say("swapped", pointer, took_ms=took_ms)

    def _load(self, pointer: ModelPointer, name: str) -> TextVersion:
        started = time.perf_counter()
        key = load_verify_key(home_of(self._settings))
        announced = pointer.manifest_sha256.get(name, "")
        version = load_text_version(self._store, pointer.task, name, key, announced)
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
