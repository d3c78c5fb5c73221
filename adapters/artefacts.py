"""Model versions as directories behind a URL: `<task>/<version>/` and the files in it.

A version appears whole or not at all and is never changed. It knows names and bytes; what they
mean, and whether to trust them, is for `adapters/version_files.py`.
"""

import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from urllib.parse import unquote, urlsplit

from core.model_version import MANIFEST
from core.settings import redacted
from schemas.errors import BadSettings, RejectedModel, Unavailable

KEPT_VERSIONS = 3
PIECE_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_INCOMING = ".incoming-"
_REPLACED = ".replaced-"


class ArtefactStore:
    """Versions under a `file://` URL; other schemes are refused with BadSettings."""

    def __init__(self, url: str) -> None:
        self.root = _directory(url)

    def put(self, task: str, version: str, files: Mapping[str, bytes]) -> None:
        """Writes a version: all files to disk, then one rename. A repeat with equal bytes is free.

        Raises Unavailable when the disk refuses.
        """
        target = self._path(task, version)
        incoming = target.with_name(_INCOMING + version)
        try:
            if _holds(target, files):
                return
            shutil.rmtree(incoming, ignore_errors=True)
            incoming.mkdir(parents=True)
            for name, data in files.items():
                _write(incoming / _checked(name), data)
            _sync_directory(incoming)
            self._replace(incoming, target)
        except OSError as error:
            raise Unavailable(
                f"version {version} cannot be written to {target}: {error}"
            ) from error

    def get(self, task: str, version: str, name: str) -> bytes:
        """The bytes of one file; raises RejectedModel (missing_file) when it is not there."""
        with self._opened(task, version, name) as file:
            return file.readall()

    def pieces(self, task: str, version: str, name: str) -> Iterator[bytes]:
        """The same, at most `PIECE_BYTES` at a time."""
        with self._opened(task, version, name) as file:
            while piece := file.read(PIECE_BYTES):
                yield piece

    @contextmanager
    def _opened(self, task: str, version: str, name: str) -> Iterator[FileIO]:
        path = self._path(task, version) / _checked(name)
        try:
            with path.open("rb", buffering=0) as file:
                yield file
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise RejectedModel("missing_file", f"{task}/{version}/{name} is missing") from error
        except OSError as error:
            raise Unavailable(f"{task}/{version}/{name} cannot be read: {error}") from error

    def folder(self, task: str, version: str) -> Path:
        """Where the files of a version lie; raises as `get` for what is no plain name."""
        return self._path(task, version)

    def versions(self, task: str) -> list[str]:
        """Versions that are wholly written, oldest event date first."""
        folder = self.root / _checked(task)
        if not folder.is_dir():
            return []
        return sorted(
            entry.name
            for entry in folder.iterdir()
            if not entry.name.startswith(".") and (entry / MANIFEST).is_file()
        )

    def prune(self, task: str, named: Collection[str], kept: int = KEPT_VERSIONS) -> list[str]:
        """Deletes all but the newest `kept` (at least three) and those named; returns the gone."""
        versions = self.versions(task)
        newest = versions[-max(kept, KEPT_VERSIONS) :]
        gone = [version for version in versions if version not in newest and version not in named]
        for version in gone:
            path = self._path(task, version)
            hidden = path.with_name(_REPLACED + version)
            path.rename(hidden)
            shutil.rmtree(hidden, ignore_errors=True)
        return gone

    def _path(self, task: str, version: str) -> Path:
        return self.root / _checked(task) / _checked(version)

    def _replace(self, incoming: Path, target: Path) -> None:
        """Puts `incoming` in place; a damaged version of the same name makes way."""
        replaced = target.with_name(_REPLACED + target.name)
        shutil.rmtree(replaced, ignore_errors=True)
        if target.exists():
            target.rename(replaced)
        incoming.rename(target)
        _sync_directory(target.parent)
        shutil.rmtree(replaced, ignore_errors=True)


def in_pieces(data: bytes) -> Iterator[memoryview]:
    """What is at hand as `ArtefactStore.pieces` gives it, without a copy."""
    view = memoryview(data)
    for first in range(0, len(view), PIECE_BYTES):
        yield view[first : first + PIECE_BYTES]


def _directory(url: str) -> Path:
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or len(parts.path) < 2:
        raise BadSettings(
            f"SHOPLOOP_ARTEFACTS={redacted(url)}: only file:// URLs with an absolute path"
        )
    return Path(unquote(parts.path))


def _checked(name: str) -> str:
    """The name itself when it is one plain path part; raises RejectedModel otherwise."""
    if not _NAME.fullmatch(name):
        raise RejectedModel("malformed_manifest", f"{name[:200]!r} is not a plain file name")
    return name


def _holds(folder: Path, files: Mapping[str, bytes]) -> bool:
    if not folder.is_dir():
        return False
    return all(
        (folder / name).is_file() and (folder / name).read_bytes() == data
        for name, data in files.items()
    )


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
