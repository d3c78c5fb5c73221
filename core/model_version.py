"""The identity of a model version: the content address of its manifest behind its event date.

It knows the manifest, and neither where versions are kept nor how they are signed.
"""

import hashlib
from datetime import UTC, datetime

import msgspec

from schemas.codec import encode
from schemas.models import FileDigest, Manifest

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
GRAPH = "sequence.onnx"
VOCABULARY = "vocabulary.json"
RANKER = "ranker.json"
STATE = "state.safetensors"
ITEM_VECTORS = "item_vectors.safetensors"
TABLE = "served.table"
"""The graph's item table, shape (V, D): its values are those of ITEM_VECTORS and nowhere else."""


def sha256(data: bytes) -> str:
    """The digest as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def identified(manifest: Manifest) -> Manifest:
    """The manifest with its version: UTC date of `trained_at_ms`, then 16 hex of its content.

    The address covers every field but `version` and the variants' wall times, so the same training
    gives the same id again.
    """
    untimed = [msgspec.structs.replace(each, latency_ms=0.0) for each in manifest.variants]
    bare = msgspec.structs.replace(manifest, version="", variants=untimed)
    day = datetime.fromtimestamp(manifest.trained_at_ms / 1_000, UTC).strftime("%Y%m%d")
    return msgspec.structs.replace(manifest, version=f"{day}-{sha256(encode(bare))[:16]}")


def digest(path: str, data: bytes) -> FileDigest:
    """One file as the manifest lists it.

    >>> digest("a.json", b"{}").size_bytes
    2
    """
    return FileDigest(path=path, sha256=sha256(data), size_bytes=len(data))
