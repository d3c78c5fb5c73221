"""How long each stage of a training took, for the log and for TensorBoard."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tqdm import tqdm

STAGES = ("read", "fit", "judge", "gate", "refit", "export", "store")


class Stages:
    """Times named stages and shows a bar of them; the bar is off where nobody watches."""

    def __init__(self, title: str, show: bool | None = None, names: Sequence[str] = STAGES) -> None:
        self.seconds: dict[str, float] = {}
        visible = sys.stderr.isatty() if show is None else show
        self._bar = tqdm(total=len(names), desc=title, unit="stage", disable=not visible)
        self.on_stage: Callable[[str], None] | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """One stage from here to the end of the block."""
        self._bar.set_postfix_str(name)
        if self.on_stage is not None:
            self.on_stage(name)
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started
        self._bar.update()

    def close(self) -> None:
        """Leaves the bar as it stands."""
        self._bar.close()
