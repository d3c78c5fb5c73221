"""Obeys the topics `models` and `weights`: loads, verifies, warms up, swaps; or refuses, with why.

Loading runs in its own thread, so answers go on; the swap is one assignment of an immutable
`Engine`. Which version should be live is decided elsewhere.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

from adapters.artefacts import ArtefactStore
from adapters.clock import wall_ms
from adapters.home import artefacts_url, home_of
from adapters.onnx import LoadedVersion, load_version
from adapters.signing import load_verify_key
from core.features import feature_schema_hash
from core.model_version import MANIFEST, sha256
from core.settings import Settings
from core.weight_bounds import bounded
from schemas.errors import RejectedModel, Unavailable
from schemas.ids import derived_id
from schemas.models import ModelLog, ModelPointer, Weights
from serving.engine import Engine, refusal
from serving.guard import Guard

KEPT_LOADED = 4
RETRY_S = 0.5
WARM_UP_BATCHES = (1, 10)
REPLICA_ROLES = ("champion", "canary")
SHADOW_ROLES = ("champion", "challenger", "control")

log = logging.getLogger(__name__)


class Library:
    """Loaded versions, the most recently used kept; each is verified whenever it is loaded."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = ArtefactStore(artefacts_url(settings))
        self._loaded: OrderedDict[str, LoadedVersion] = OrderedDict()

    def ready(self, name: str, manifest_sha256: str) -> LoadedVersion:
        """The version, verified and warmed up.

        Args:
            name: the version.
            manifest_sha256: what the pointer says of its manifest; empty when it says nothing.

        Raises:
            RejectedModel: the artefact must not be served.
            Unavailable: the artefacts or the key cannot be read now.
        """
        version = self._loaded.get(name) or self._load(name, manifest_sha256)
        self._loaded[name] = version
        self._loaded.move_to_end(name)
        while len(self._loaded) > KEPT_LOADED:
            self._loaded.popitem(last=False)
        return version

    def _load(self, name: str, manifest_sha256: str) -> LoadedVersion:
        started = time.perf_counter()
        task = self._settings.task
        manifest = self._store.get(task, name, MANIFEST)
        if manifest_sha256 and sha256(manifest) != manifest_sha256:
            raise RejectedModel("digest_mismatch", f"{name}: the manifest is not the announced one")
        key = load_verify_key(home_of(self._settings))
        version = load_version(self._store, task, name, key, feature_schema_hash())
        for surface, weights in version.ranker.items():
            reason = bounded(weights)
            if reason is not None:
                raise RejectedModel("malformed_file", f"{name}: ranker of {surface}: {reason}")
        for size in WARM_UP_BATCHES:
            version.score([[]] * size)
        log.info("loaded version %s in %.0f ms", name, (time.perf_counter() - started) * 1e3)
        return version


class Versions:
    """The engine in use and the thread that renews it.

    Args:
        library: gives verified versions, warm.
        roles: which roles of the pointer this process holds ready.
        process: the name under which it answers on `model_log`.
        announce: takes each `model_log` entry.
        changed: called after every swap.
        guard: stops the process when the thread fails.
    """

    def __init__(
        self,
        library: Library,
        roles: Sequence[str],
        process: str,
        announce: Callable[[ModelLog], None],
        changed: Callable[[], None],
        guard: Guard,
    ) -> None:
        self.engine = Engine()
        self.swaps = 0
        self.refusals = 0
        self._library = library
        self._roles = tuple(roles)
        self._process = process
        self._announce = announce
        self._changed = changed
        self._wanted: tuple[ModelPointer, bool] | None = None
        self._settled = threading.Event()
        self._settled.set()
        self._wake = threading.Condition()
        self._stopping = False
        self._swap = threading.Lock()
        self._thread = guard.start("versions", self._run)

    def point(self, pointer: ModelPointer, *, live: bool) -> None:
        """Takes in a pointer; `live` says that it was announced while this process ran."""
        with self._wake:
            self._wanted = (pointer, live)
            self._settled.clear()
            self._wake.notify()

    def weigh(self, weights: Weights) -> None:
        """Takes in ranker weights; bad ones are passed over and the last good ones stay."""
        reason = refusal(weights)
        if reason is not None:
            self.refusals += 1
            log.warning("kept the former weights of %s: %s", weights.surface, reason)
            return
        with self._swap:
            self.engine = self.engine.with_weights(weights)

    def settle(self, timeout_s: float) -> bool:
        """Waits until the newest pointer has been loaded or refused."""
        return self._settled.wait(timeout_s)

    @property
    def settled(self) -> bool:
        """Whether the newest pointer has been loaded or refused."""
        return self._settled.is_set()

    def holds(self, role: str) -> bool:
        """Whether this process keeps the version of this role ready."""
        return role in self._roles

    def close(self) -> None:
        """Stops loading."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            with self._wake:
                while self._wanted is None and not self._stopping:
                    self._wake.wait()
                if self._stopping or self._wanted is None:
                    return
                (pointer, live), self._wanted = self._wanted, None
            try:
                self._obey(pointer, live)
            except Unavailable as error:
                log.warning("will try again: %s", error)
                self._again(pointer, live)

    def _again(self, pointer: ModelPointer, live: bool) -> None:
        with self._wake:
            self._wake.wait(RETRY_S)
            if self._wanted is None:
                self._wanted = (pointer, live)

    def _obey(self, pointer: ModelPointer, live: bool) -> None:
        """Loads what the pointer names, swaps once, and answers on `model_log`."""
        former = self.engine
        held = {role: self._version(role, pointer, former) for role in self._roles}
        with self._swap:
            self.engine = replace(
                self.engine,
                pointer=pointer,
                champion=held.get("champion"),
                challenger=held.get("challenger"),
                control=held.get("control"),
                canary=held.get("canary"),
            )
        champion = self.engine.champion
        if champion is not None and champion is not former.champion:
            self.swaps += 1
            took_ms = wall_ms() - pointer.announced_wall_ms if live else None
            self._say("swapped", champion.version, pointer, took_ms=took_ms)
        with self._wake:
            if self._wanted is None:
                self._settled.set()
        self._changed()

    def _version(self, role: str, pointer: ModelPointer, former: Engine) -> LoadedVersion | None:
        """The version the pointer names for a role; the one in use when that must be refused."""
        name: str | None = getattr(pointer, role)
        in_use: LoadedVersion | None = getattr(former, role)
        if name is None:
            return None
        if in_use is not None and in_use.version == name:
            return in_use
        try:
            return self._library.ready(name, pointer.manifest_sha256.get(name, ""))
        except RejectedModel as error:
            self._refuse(name, error, pointer)
            return in_use

    def _refuse(self, name: str, error: RejectedModel, pointer: ModelPointer) -> None:
        log.error("refused version %s: %s: %s", name, error.reason, error)
        self.refusals += 1
        self._say("refused", name, pointer, reason=f"{error.reason}: {error}")

    def _say(
        self,
        kind: str,
        version: str,
        pointer: ModelPointer,
        *,
        reason: str = "",
        took_ms: float | None = None,
    ) -> None:
        self._announce(
            ModelLog(
                log_id=derived_id(kind, self._process, version, str(pointer.sequence)),
                task=pointer.task,
                model_version=version,
                kind="swapped" if kind == "swapped" else "refused",
                event_time_ms=pointer.event_time_ms,
                reason=reason,
                process=self._process,
                announce_to_swap_ms=took_ms,
            )
        )
