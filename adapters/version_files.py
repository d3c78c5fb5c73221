"""The files of a version, once they are what was signed; whatever kind of version it is.

It decides nothing; a version that fails a check is refused with the reason.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from adapters.artefacts import ArtefactStore, in_pieces
from adapters.signing import is_signed
from core.model_version import MANIFEST, SIGNATURE
from schemas.errors import RejectedModel
from schemas.models import FileDigest, Manifest

_T = TypeVar("_T")
Rest = Callable[[], object]
"""Called between pieces of work that would take a core for long."""


_decode_strings = msgspec.json.Decoder(list[str]).decode


def no_rest() -> None:
    """Goes on at once."""


def load_manifest(
    store: ArtefactStore, task: str, version: str, verify_key: Ed25519PublicKey
) -> Manifest:
    """The manifest of a version once its signature holds; raises RejectedModel as above."""
    data = store.get(task, version, MANIFEST)
    try:
        signature = store.get(task, version, SIGNATURE)
    except RejectedModel as error:
        raise RejectedModel("unsigned", f"{task}/{version} has no {SIGNATURE}") from error
    if not is_signed(verify_key, data, signature):
        raise RejectedModel("bad_signature", f"the signature of {task}/{version} does not hold")
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RejectedModel("malformed_manifest", f"{task}/{version}: {error}") from error
    if (manifest.task, manifest.version) != (task, version):
        raise RejectedModel(
            "malformed_manifest",
            f"{task}/{version} holds the manifest of {manifest.task}/{manifest.version}",
        )
    return manifest


def verified_files(
    store: ArtefactStore, manifest: Manifest, needed: Collection[str], rest: Rest = no_rest
) -> dict[str, bytes]:
    """The files that serving needs, once all that the manifest lists are as they were signed.

    The others are only read, a piece at a time, so that they take no memory.

    Raises RejectedModel: missing_file or digest_mismatch.
    """
    missing = sorted(set(needed) - {entry.path for entry in manifest.files})
    if missing:
        raise RejectedModel("missing_file", f"{manifest.version} does not list {missing[0]}")
    found = ((entry, _verified(store, manifest, entry, needed, rest)) for entry in manifest.files)
    return {entry.path: data for entry, data in found if entry.path in needed}


def _verified(
    store: ArtefactStore, manifest: Manifest, entry: FileDigest, needed: Collection[str], rest: Rest
) -> bytes:
    """The file as it was signed; nothing of it where it is not needed."""
    name = manifest.task, manifest.version, entry.path
    whole = store.get(*name) if entry.path in needed else b""
    hashed, size = hashlib.sha256(), 0
    for piece in in_pieces(whole) if whole else store.pieces(*name):
        hashed.update(piece)
        size += len(piece)
        if size > entry.size_bytes:
            break
        rest()
    if size != entry.size_bytes or hashed.hexdigest() != entry.sha256:
        raise RejectedModel(
            "digest_mismatch", f"{manifest.version}/{entry.path} is not what was signed"
        )
    return whole


def decoded(files: Mapping[str, bytes], name: str, kind: type[_T]) -> _T:
    """A JSON file as this type; raises RejectedModel (malformed_file)."""
    try:
        return msgspec.json.decode(files[name], type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RejectedModel("malformed_file", f"{name}: {error}") from error


def decoded_strings(
    files: Mapping[str, bytes], name: str, rest: Rest = no_rest, piece_bytes: int = 1 << 15
) -> list[str]:
    """A JSON array of strings, with turns for others between pieces; raises as `decoded`.

    A million strings at once hold the interpreter for a tenth of a second.
    """
    found: list[str] = []
    try:
        for piece in _arrays(files[name], piece_bytes):
            found += _decode_strings(piece)
            rest()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return decoded(files, name, list[str])
    return found


def _arrays(data: bytes, piece_bytes: int) -> Iterator[bytes]:
    """Arrays that are the whole one when they are put together.

    It is cut between strings, at `","`. The same bytes are in a string only after a backslash, or
    where the string is a comma: then a piece does not decode.
    """
    begun = 1
    while data.startswith(b"["):
        at = data.find(b'","', begun + piece_bytes)
        while at > 0 and data[at - 1 : at] == b"\\":
            at = data.find(b'","', at + 1)
        if at < 0:
            break
        yield b"[" + data[begun : at + 1] + b"]"
        begun = at + 2
    yield data if begun == 1 else b"[" + data[begun:]
