"""The file of API keys: read, followed while it changes, and replaced whole.

`SHOPLOOP_API_KEYS`, else `<home>/keys/api_keys.json`. It holds salted digests, no secret, and is
refused all the same when other accounts may read it. A new file that is bad is refused and said in
the log; the keys of before stay, and so they do when the file is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from adapters.home import home_of
from adapters.private_file import read_private, replace_private
from core.access import ApiKey, KeyRing, parse_keys
from core.settings import Settings
from schemas.errors import BadSettings

NAME = "SHOPLOOP_API_KEYS"
LOOKED_EVERY_S = 0.5

log = logging.getLogger(__name__)


def keys_path(settings: Settings) -> Path:
    """Where the keys are."""
    if settings.api_keys:
        return Path(settings.api_keys).expanduser().resolve()
    return home_of(settings) / "keys" / "api_keys.json"


def read_keys(path: Path) -> KeyRing:
    """The keys in the file.

    Raises:
        BadSettings: it cannot be read, others may read it, or what it holds cannot be used.
    """
    data = read_private(path, NAME)
    try:
        return parse_keys(data)
    except BadSettings as error:
        raise BadSettings(f"{NAME}={path}: {error}") from error


def write_keys(path: Path, ring: KeyRing) -> None:
    """Puts the keys in the file's place; raises BadSettings when it cannot be written."""
    replace_private(path, msgspec.json.format(msgspec.json.encode(ring)) + b"\n")


@contextlib.contextmanager
def changing(path: Path) -> Iterator[KeyRing]:
    """The keys that are there (none without a file), while no other command changes them.

    Raises:
        BadSettings: as `read_keys`, or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise BadSettings(f"{path.parent} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield read_keys(path) if path.exists() else KeyRing()
    finally:
        os.close(descriptor)


class KeysFile:
    """The keys as they are now: `keys()` looks at the file twice a second, on the caller's thread.

    Raises:
        BadSettings: the file is there and cannot be used.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._seen = _stamp(path)
        self._keys = read_keys(path).by_id if self._seen is not None else None
        self._looked_s = clock()

    def keys(self) -> Mapping[str, ApiKey] | None:
        """The keys by id; None as long as there has been no file."""
        now_s = self._clock()
        if now_s - self._looked_s >= LOOKED_EVERY_S:
            self._looked_s = now_s
            self._look()
        return self._keys

    def _look(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            if stamp is None:
                raise BadSettings(f"{NAME}={self._path}: is gone")
            self._keys = read_keys(self._path).by_id
        except BadSettings as error:
            log.error("the keys of before stay: %s", error)
        else:
            log.info("%d API keys read", len(self._keys))


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    """What changes when the file does; its mode counts, since it may be what was wrong."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode
