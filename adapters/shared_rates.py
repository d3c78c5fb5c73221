"""Token buckets that the processes of a machine share: a key's rate is that of the machine.

A table in a file that all map into memory, by a hash of the caller in groups of eight; a bucket is
one number, as in `core/rate_limit.py`. A group is locked for the microseconds of an update; the
system unlocks it with a process that is killed, and who waits too long goes on without. Times are
of the clock since boot, which processes share, so the file is that of one boot.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import struct
import threading
from hashlib import blake2b
from pathlib import Path

from adapters.boot import boot_id, files_of_former_boots
from adapters.home import home_of
from core.rate_limit import Buckets, Limit, Taken, take
from core.settings import Settings

GROUPS, IN_GROUP = 2_048, 8
_GROUP = struct.Struct("<" + "Qd" * IN_GROUP)
_ENTRY = struct.Struct("<Qd")
_TRIES = 200
_ALLOCATE = getattr(os, "posix_fallocate", lambda file, _, size: os.ftruncate(file, size))

log = logging.getLogger(__name__)


class SharedBuckets:
    """As `core.rate_limit.Buckets`, for all processes that open the same file.

    Args:
        path: the file, made where it is missing.

    Raises:
        OSError: it cannot be made, or the disk has no room for it.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # All of it on disk: writing into a hole that a full disk cannot fill kills the process.
            _ALLOCATE(self._file, 0, GROUPS * _GROUP.size)
            self._table = mmap.mmap(self._file, GROUPS * _GROUP.size)
        except OSError:
            os.close(self._file)
            raise
        self._lock = threading.Lock()

    def take(self, caller: str, limit: Limit, now_s: float, cost: int = 1, paid: int = 0) -> Taken:
        """What comes of a request of this caller now, whichever process it comes to.

        In a group that is full, the bucket that is soonest full again is forgotten.
        """
        mark = int.from_bytes(blake2b(caller.encode(), digest_size=8).digest(), "little") | 1
        start = (mark >> 1) % GROUPS * _GROUP.size
        with self._lock:
            held = self._held(start)
            entries = _GROUP.unpack_from(self._table, start)
            marks, full_at = entries[::2], entries[1::2]
            at = marks.index(mark) if mark in marks else full_at.index(min(full_at))
            before = full_at[at] if marks[at] == mark else 0.0
            after, taken = take(before, limit, now_s, cost, paid)
            _ENTRY.pack_into(self._table, start + at * _ENTRY.size, mark, after)
            if held:
                fcntl.lockf(self._file, fcntl.LOCK_UN, _GROUP.size, start)
        return taken

    def _held(self, start: int) -> bool:
        """Whether the group is locked for this process now."""
        for _ in range(_TRIES):
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, _GROUP.size, start)
            except OSError:
                os.sched_yield()
            else:
                return True
        return False


def buckets_of(settings: Settings) -> SharedBuckets | Buckets:
    """Those of this machine's processes with one home; where there can be no file, one's own."""
    folder = home_of(settings) / "serving" / "rates"
    path = folder / f"rates-{boot_id()}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for former in files_of_former_boots(folder, "rates-*", path):
            former.unlink(missing_ok=True)
        return SharedBuckets(path)
    except OSError as error:
        log.warning("each process counts the rates of keys for itself: %s", error)
        return Buckets()
