"""Threads of one process: when one fails, all stop, and the process ends with its failure."""

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

LOOK_S = 0.5


class Guard:
    """A stop signal, and the first failure of any thread started here."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        # Not the event itself: a signal that comes while the main thread is about to wait for the
        # event would wait for a lock that this thread holds. A simple queue has no such moment.
        self._asked: SimpleQueue[None] = SimpleQueue()
        self._failure: BaseException | None = None

    def start(self, name: str, run: Callable[[], None]) -> threading.Thread:
        """Starts a thread that brings the process down when it raises."""
        thread = threading.Thread(target=self._guarded, args=(run,), name=name, daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """Asks the main thread to end all others; may be called by a signal at any moment."""
        self._asked.put(None)

    def wait(self) -> None:
        """Returns after `stop` or a thread's failure, with every thread asked to end."""
        # Not for ever at once: the system may hand a signal to another thread, which does not wake
        # this one, and only this one runs the handler.
        while not self.stopping.is_set():
            with suppress(Empty):
                self._asked.get(timeout=LOOK_S)
                self.stopping.set()

    def check(self) -> None:
        """Raises the first failure, if there was one."""
        if self._failure is not None:
            raise self._failure

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 — `check` raises it again
            self._failure = self._failure or error
            self.stop()
