"""Vectors of texts on disk by model version, so that a restart or a second replica is quick.

A folder holds one file for each process that wrote: 16 bytes of the text's digest, then float16
numbers. Every process reads all files of its version and appends to its own.
"""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES = 16
KEPT_VERSIONS = 2
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]")

log = logging.getLogger(__name__)

Vectors = NDArray[np.float32]


class VectorCache:
    """The vectors of one version; a folder that cannot be used costs time, nothing else.

    Args:
        folder: of all versions.
        version: whose vectors these are.
        process: names the file that is appended to.
        width: numbers per vector.
    """

    def __init__(self, folder: Path, version: str, process: str, width: int) -> None:
        self._folder = folder / _NOT_PLAIN.sub("_", version)
        self._record = DIGEST_BYTES + 2 * width
        self._width = width
        self._own = self._folder / f"{_NOT_PLAIN.sub('_', process)}.vectors"
        self._kept: dict[bytes, NDArray[np.float16]] = {}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._folder.touch()
            self._forget_others(folder)
            for path in sorted(self._folder.glob("*.vectors")):
                self._read(path)
        except OSError as error:
            log.warning("vectors are not kept in %s: %s", self._folder, error)

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, text: str) -> Vectors | None:
        """The vector of a text, shape (width,), if it is kept."""
        found = self._kept.get(digest_of(text))
        return None if found is None else found.astype(np.float32)

    def put(self, texts: list[str], vectors: Vectors) -> Vectors:
        """Keeps vectors, shape (n, width), and gives them as a restart will read them."""
        small = vectors.astype(np.float16)
        parts = []
        for text, row in zip(texts, small, strict=True):
            digest = digest_of(text)
            self._kept[digest] = row
            parts.append(digest + row.tobytes())
        try:
            with self._own.open("ab") as file:
                file.write(b"".join(parts))
        except OSError as error:
            log.warning("vectors are not kept in %s: %s", self._own, error)
        return small.astype(np.float32)

    def _read(self, path: Path) -> None:
        data = path.read_bytes()
        whole = len(data) - len(data) % self._record
        if whole < len(data) and path == self._own:
            with path.open("r+b") as file:  # a write was cut off
                file.truncate(whole)
        rows = np.frombuffer(data[:whole], np.uint8).reshape(-1, self._record)
        vectors = rows[:, DIGEST_BYTES:].copy().view(np.float16)
        for digest, vector in zip(rows[:, :DIGEST_BYTES], vectors, strict=True):
            if np.isfinite(vector).all():
                self._kept[digest.tobytes()] = vector

    def _forget_others(self, folder: Path) -> None:
        """Deletes the files of all versions but the newest used, this one among them."""
        others = [one for one in folder.iterdir() if one.is_dir() and one != self._folder]
        others.sort(key=lambda one: one.stat().st_mtime, reverse=True)
        for one in others[KEPT_VERSIONS - 1 :]:
            for path in one.glob("*.vectors"):
                path.unlink(missing_ok=True)
            one.rmdir()


def digest_of(text: str) -> bytes:
    """What a text is known by."""
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()
