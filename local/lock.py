"""Who holds a data directory: an advisory lock that ends with its process, and who took it.

A stale file never blocks: the lock is the kernel's, the file's text is for the message alone.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from schemas.errors import BadSettings


class HomeLock:
    """Holds `<directory>/lock` while entered.

    Raises:
        BadSettings: on entry, when another process holds it; the text names it and since when.
    """

    def __init__(self, directory: Path, what: str) -> None:
        self._path = directory / "lock"
        self._what = what
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise BadSettings(
                f"{self._path.parent} is in use by {self._what}, {holder}: stop it first"
            ) from error
        file.truncate(0)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime())
        file.write(f"process {os.getpid()} since {since}\n")
        file.flush()
        self._file = file
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
