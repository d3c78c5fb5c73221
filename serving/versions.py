"""Obeys the topics `models` and `weights`: loads, verifies, warms up, swaps; or refuses, with why.

Loading runs in its own thread, so answers go on; the swap is one assignment of an immutable
`Engine`. The champion goes first: it waits for no other role, and takes their room where memory is
short. Which version should be live is decided elsewhere.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from adapters.clock import wall_ms
from adapters.onnx import LoadedVersion
from core.version_memory import Claim
from schemas.errors import BadSettings, RejectedModel, Unavailable
from schemas.ids import derived_id
from schemas.models import ModelLog, ModelPointer, Weights
from serving.engine import Engine, refusal
from serving.guard import Guard
from serving.library import Library

RETRY_S = 0.5
REPLICA_ROLES = ("champion", "canary")
SHADOW_ROLES = ("champion", "challenger", "control")

log = logging.getLogger(__name__)


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
        self.refused: Counter[str] = Counter()
        self._library = library
        self._roles = tuple(roles)
        self._others = [role for role in roles if role != "champion"]
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
            self.refused["weights"] += 1
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
            except (Unavailable, BadSettings) as error:
                if isinstance(error, BadSettings) and not live:
                    raise  # at start; a key file that goes bad later ends no answers
                log.warning("will try again: %s", error)
                self._again(pointer, live)

    def _again(self, pointer: ModelPointer, live: bool) -> None:
        with self._wake:
            self._wake.wait(RETRY_S)
            if self._wanted is None:
                self._wanted = (pointer, live)

    def _obey(self, pointer: ModelPointer, live: bool) -> None:
        """Loads what the pointer names, swaps, and answers on `model_log`."""
        former = self.engine.champion
        champion = self._champion(pointer)
        at_hand = {role: self._at_hand(role, pointer) for role in self._others}
        self._put(pointer, champion=champion, **at_hand)
        if champion is not None and champion is not former:
            self.swaps += 1
            took_ms = wall_ms() - pointer.announced_wall_ms if live else None
            self._say("swapped", champion.version, pointer, took_ms=took_ms)
            self._changed()
        # Kept for a rollback: of what has no role, it is the last to go.
        self._library.loaded(former.version if former is not None else None)
        self._put(pointer, **{role: self._other(role, pointer) for role in self._others})
        with self._wake:
            if self._wanted is None:
                self._settled.set()
        self._changed()

    def _put(self, pointer: ModelPointer, **held: Any) -> None:
        """The swap: one assignment."""
        with self._swap:
            self.engine = replace(self.engine, pointer=pointer, **held)

    def _champion(self, pointer: ModelPointer) -> LoadedVersion | None:
        """The champion that the pointer names; the one in use when that must be refused."""
        in_use, name = self.engine.champion, pointer.champion
        if name is None or (in_use is not None and in_use.version == name):
            return None if name is None else in_use
        claims = dict.fromkeys(self._in_use(self._others), Claim.GIVES_WAY)
        claims |= dict.fromkeys(self._in_use(["champion"]), Claim.STAYS)
        return self._ready(name, pointer, claims) or in_use

    def _other(self, role: str, pointer: ModelPointer) -> LoadedVersion | None:
        """The version that the pointer names for a role beside the champion's, or none."""
        known, name = self._at_hand(role, pointer), getattr(pointer, role)
        if known is not None or name is None:
            return known
        claims = dict.fromkeys(self._in_use(self._roles), Claim.STAYS)
        return self._ready(name, pointer, claims)

    def _at_hand(self, role: str, pointer: ModelPointer) -> LoadedVersion | None:
        """What the pointer names for a role, if it needs no loading."""
        return self._library.loaded(getattr(pointer, role))

    def _in_use(self, roles: Sequence[str]) -> list[str]:
        held = [getattr(self.engine, role) for role in roles]
        return [version.version for version in held if version is not None]

    def _ready(
        self, name: str, pointer: ModelPointer, claims: dict[str, Claim]
    ) -> LoadedVersion | None:
        digest = pointer.manifest_sha256.get(name, "")
        try:
            return self._library.ready(name, digest, claims, self._give_way)
        except RejectedModel as error:
            log.error("refused version %s: %s: %s", name, error.reason, error)
            self.refused[error.reason] += 1
            self._say("refused", name, pointer, reason=f"{error.reason}: {error}")
            return None

    def _give_way(self, names: list[str]) -> None:
        """Takes versions out of the roles beside the champion's, before they are let go."""
        with self._swap:
            gone: dict[str, Any] = {
                role: None
                for role in self._others
                if (held := getattr(self.engine, role)) is not None and held.version in names
            }
            self.engine = replace(self.engine, **gone)

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
