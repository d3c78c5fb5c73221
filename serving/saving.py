"""When the live state is put on disk: in short steps between polls, and whole at the end."""

import logging
import threading
import time
from collections.abc import Callable

from core.shop_state import ShopState
from serving.checkpoint import Checkpoints, Place

LEAST_FREE_BYTES = 64_000_000

log = logging.getLogger(__name__)


class Saving:
    """Drives the checkpoints of one state. Used by the thread that applies events.

    Args:
        checkpoints: of the state.
        lock: guards the state.
        place: where the state stands; None while no checkpoint can be.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        lock: threading.Lock,
        place: Callable[[], Place | None],
    ) -> None:
        self._checkpoints = checkpoints
        self._lock = lock
        self._place = place
        self._saved_s = time.monotonic()

    @property
    def under_way(self) -> bool:
        """Whether there is more to do at once."""
        return self._checkpoints.under_way

    def go_on(self, state: ShopState) -> None:
        """One step, or a beginning when it is time; all of it when memory asks for it.

        Raises:
            Unavailable: the disk refuses.
        """
        if self._checkpoints.is_full:
            self.save(state)
            self.make_room()
        elif self.under_way:
            self._step()
        elif time.monotonic() - self._saved_s > self._checkpoints.every_s:
            self._begin(state)

    def save(self, state: ShopState) -> None:
        """A whole checkpoint where one can be: otherwise the last one stands.

        Raises:
            Unavailable: the disk refuses.
        """
        self._finish()
        self._begin(state)
        self._finish()

    def make_room(self) -> None:
        """Gives memory back where no checkpoint can be."""
        with self._lock:
            if self._checkpoints.is_full:
                self._checkpoints.spill()

    def _begin(self, state: ShopState) -> None:
        if self._checkpoints.free_bytes < LEAST_FREE_BYTES:
            # One that is cut off by a full disk ends the process; without one it goes on answering.
            log.error("no checkpoint: the disk of %s is full", self._checkpoints.path)
            self._saved_s = time.monotonic()
            return
        outdated = self._checkpoints.outdated
        names = outdated.find(state)
        with self._lock:
            self._saved_s = time.monotonic()
            place = self._place()
            if place is not None:
                outdated.remove(state, names)
                self._checkpoints.begin(place)

    def _finish(self) -> None:
        while self.under_way:
            self._step()

    def _step(self) -> None:
        with self._lock:
            self._checkpoints.pack()
        self._checkpoints.write()
        with self._lock:
            self._checkpoints.end()
