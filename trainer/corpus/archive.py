"""An archive's files, unpacked once per content into the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

import platformdirs

from schemas.errors import BadSettings

_BLOCK = 1 << 20


def unpacked(archive: Path, cache: Path | None = None) -> Path:
    """The folder with the archive's files; a single folder at its top is left out of the path.

    Raises:
        BadSettings: there is no such archive, or it cannot be unpacked; names it.
    """
    try:
        digest = digest_of(archive)
        root = (cache or cache_folder()) / f"{archive.name.partition('.')[0]}-{digest[:16]}"
        if not root.exists():
            _unpack(archive, root)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise BadSettings(f"{archive}: {getattr(error, 'strerror', None) or error}") from error
    found = list(root.iterdir())
    return found[0] if len(found) == 1 and found[0].is_dir() else root


def cache_folder() -> Path:
    """Where unpacked data sets are on this machine."""
    return Path(platformdirs.user_cache_dir("shoploop", appauthor=False)) / "datasets"


def digest_of(path: Path) -> str:
    """A file's SHA-256 in hexadecimal digits."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()


def _unpack(archive: Path, root: Path) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=root.parent, prefix=f"{root.name}."))
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(partial, filter="data")
        os.replace(partial, root)
    except OSError:
        if not root.exists():  # else another process was faster
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
