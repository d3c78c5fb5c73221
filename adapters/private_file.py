"""Files that only their owner may read: their mode is checked, and they are replaced whole."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from schemas.errors import BadSettings


def read_private(path: Path, what: str) -> bytes:
    """The bytes of a file that nobody but its owner may read or write.

    Args:
        path: the file.
        what: what names it to a person, such as `SHOPLOOP_PEPPER_FILE`.

    Raises:
        BadSettings: it cannot be read, or its mode lets others at it.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise BadSettings(
                    f"{what}={path}: others than its owner may read it "
                    f"(mode {stat.S_IMODE(mode):o}): chmod 600"
                )
            return file.read()
    except OSError as error:
        raise BadSettings(f"{what}={path}: cannot be read ({error.strerror})") from error


def read_secret(path: Path, what: str) -> str:
    """The first line of such a file, without the blank around it.

    Raises:
        BadSettings: as `read_private`, or it is empty or no text.
    """
    try:
        lines = read_private(path, what).decode().splitlines()
    except UnicodeDecodeError as error:
        raise BadSettings(f"{what}={path}: is not text") from error
    if not lines or not lines[0].strip():
        raise BadSettings(f"{what}={path}: is empty")
    return lines[0].strip()


def replace_private(path: Path, data: bytes) -> None:
    """Puts these bytes in the file's place at one moment, safe on disk, mode 600.

    Raises:
        BadSettings: it cannot be written.
    """
    incoming = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(incoming, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            incoming.replace(path)
        finally:
            incoming.unlink(missing_ok=True)
    except OSError as error:
        raise BadSettings(f"{path} cannot be written: {error.strerror}") from error
