"""A real version, made by the trainer's own export, and the ways to spoil it that are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from safetensors.numpy import save

from adapters.artefacts import ArtefactStore
from adapters.home import artefacts_url, home_of
from adapters.sequence_graph import item_vectors
from adapters.signing import load_or_create, sign
from bench.serving_version import Versions
from core.model_version import (
    GRAPH,
    ITEM_VECTORS,
    MANIFEST,
    RANKER,
    SIGNATURE,
    VOCABULARY,
    digest,
    identified,
    sha256,
)
from core.settings import Settings
from schemas.codec import encode
from schemas.models import FileDigest, Manifest

TASK = "recommend"


@dataclass
class Workshop:
    """The folder of versions with two sound ones in it, and the key that they are signed with."""

    home: Path
    items: tuple[str, ...] = ("a", "b", "c", "d", "e", "f")
    also_listed: list[FileDigest] = field(default_factory=list)
    not_listed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        settings = Settings(home=str(self.home))
        self.store = ArtefactStore(artefacts_url(settings))
        self.key = load_or_create(home_of(settings))
        self._versions = Versions(settings, self.items)

    def make(self, seed: int) -> str:
        """A sound version."""
        return self._versions.make(seed)

    def folder(self, version: str) -> Path:
        """Where its files lie."""
        return self.store.root / TASK / version

    def announced(self, version: str) -> str:
        """The digest that a pointer gives of its manifest."""
        return sha256((self.folder(version) / MANIFEST).read_bytes())

    def manifest(self, version: str) -> Manifest:
        """What was signed."""
        return msgspec.json.decode((self.folder(version) / MANIFEST).read_bytes(), type=Manifest)

    def files(self, version: str) -> dict[str, bytes]:
        """What the manifest lists."""
        listed = self.manifest(version).files
        return {entry.path: (self.folder(version) / entry.path).read_bytes() for entry in listed}

    def signed(
        self, like: str, files: dict[str, bytes] | None = None, task: str = TASK, **fields: object
    ) -> str:
        """Another version like one that is there, properly signed; `fields` are its manifest's."""
        changed = {**self.files(like), **(files or {})}
        listed = [
            digest(path, data)
            for path, data in sorted(changed.items())
            if path not in self.not_listed
        ]
        values = {"files": listed + self.also_listed, "task": task} | fields
        manifest = identified(msgspec.structs.replace(self.manifest(like), **values))
        data = encode(manifest)
        whole = {**changed, MANIFEST: data, SIGNATURE: sign(self.key, data)}
        self.store.put(task, manifest.version, whole)
        return manifest.version


Spoil = Callable[[Workshop, str, str], str]
"""Takes the workshop, a sound version to spoil and another one; returns what to announce."""


def unsigned(shop: Workshop, version: str, _other: str) -> str:
    (shop.folder(version) / SIGNATURE).unlink()
    return version


def signed_by_another(shop: Workshop, version: str, _other: str) -> str:
    data = (shop.folder(version) / MANIFEST).read_bytes()
    (shop.folder(version) / SIGNATURE).write_bytes(sign(Ed25519PrivateKey.generate(), data))
    return version


def altered_manifest(shop: Workshop, version: str, _other: str) -> str:
    path = shop.folder(version) / MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"rows":0', b'"rows":1'))
    return version


def altered_graph(shop: Workshop, version: str, _other: str) -> str:
    path = shop.folder(version) / GRAPH
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return version


def altered_vectors(shop: Workshop, version: str, _other: str) -> str:
    path = shop.folder(version) / ITEM_VECTORS
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    return version


def vectors_of_another(shop: Workshop, version: str, other: str) -> str:
    return shop.signed(version, {ITEM_VECTORS: shop.files(other)[ITEM_VECTORS]})


def fewer_vectors(shop: Workshop, version: str, _other: str) -> str:
    items = item_vectors(shop.files(version)[ITEM_VECTORS])
    return shop.signed(version, {ITEM_VECTORS: save({"items": items[:-1].copy()})})


def no_vectors(shop: Workshop, version: str, _other: str) -> str:
    return shop.signed(version, {ITEM_VECTORS: b"no vectors"})


def vectors_not_listed(shop: Workshop, version: str, _other: str) -> str:
    shop.not_listed = (ITEM_VECTORS,)
    return shop.signed(version)


def missing_file(shop: Workshop, version: str, _other: str) -> str:
    (shop.folder(version) / VOCABULARY).unlink()
    return version


def another_schema(shop: Workshop, version: str, _other: str) -> str:
    return shop.signed(version, feature_schema="0123456789abcdef")


def another_network(shop: Workshop, version: str, other: str) -> str:
    return shop.signed(version, {GRAPH: shop.files(other)[GRAPH]})


def no_graph(shop: Workshop, version: str, _other: str) -> str:
    return shop.signed(version, {GRAPH: b"not a graph"})


def malformed_vocabulary(shop: Workshop, version: str, _other: str) -> str:
    return shop.signed(version, {VOCABULARY: b'["a", "b", '})


def smaller_vocabulary(shop: Workshop, version: str, _other: str) -> str:
    return shop.signed(version, {VOCABULARY: b'["a", "b"]'}, vocabulary_size=2)


def unbounded_ranker(shop: Workshop, version: str, _other: str) -> str:
    ranker = msgspec.json.decode(shop.files(version)[RANKER])
    ranker["home"]["coef"][0] = 1e9
    return shop.signed(version, {RANKER: encode(ranker)})


def no_ranker(shop: Workshop, version: str, _other: str) -> str:
    return shop.signed(version, {RANKER: b"{}"})


def manifest_of_another_task(shop: Workshop, version: str, _other: str) -> str:
    name = shop.signed(version, task="search")
    (shop.store.root / "search" / name).rename(shop.folder(name))
    return name


def manifest_of_another_version(shop: Workshop, version: str, other: str) -> str:
    for name in (MANIFEST, SIGNATURE):
        (shop.folder(version) / name).write_bytes((shop.folder(other) / name).read_bytes())
    return version


def file_outside_the_folder(shop: Workshop, version: str, _other: str) -> str:
    outside = shop.store.root / TASK / "outside.json"
    outside.write_bytes(b"{}")
    shop.also_listed = [digest("../outside.json", b"{}")]
    return shop.signed(version)


def version_outside_the_folder(shop: Workshop, version: str, _other: str) -> str:
    shop.folder(version).rename(shop.store.root / version)
    return f"../{version}"


SPOILED: dict[Spoil, str] = {
    unsigned: "unsigned",
    signed_by_another: "bad_signature",
    altered_manifest: "bad_signature",
    altered_graph: "digest_mismatch",
    altered_vectors: "digest_mismatch",
    vectors_of_another: "wrong_answers",
    fewer_vectors: "wrong_answers",
    no_vectors: "wrong_answers",
    vectors_not_listed: "wrong_answers",
    missing_file: "missing_file",
    another_schema: "schema_mismatch",
    another_network: "wrong_answers",
    no_graph: "wrong_answers",
    malformed_vocabulary: "malformed_file",
    smaller_vocabulary: "wrong_answers",
    unbounded_ranker: "malformed_file",
    no_ranker: "malformed_file",
    manifest_of_another_task: "malformed_manifest",
    manifest_of_another_version: "malformed_manifest",
    file_outside_the_folder: "malformed_manifest",
    version_outside_the_folder: "malformed_manifest",
}
"""What each of them must be refused for, where the pointer says no digest."""
