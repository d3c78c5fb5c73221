"""Ed25519 keys under `<home>/keys`, and signatures over manifests.

The trainer makes the pair at its first start; serving needs `verify.pem` alone.
"""

import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from schemas.errors import BadSettings, Unavailable

SIGNING_KEY = "signing.pem"
VERIFY_KEY = "verify.pem"


def load_or_create(home: Path) -> Ed25519PrivateKey:
    """The signing key under home; both key files are made when there are none."""
    folder = home / "keys"
    path = folder / SIGNING_KEY
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        pem = Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        _create(path, pem, 0o600)
    key = load_signing_key(path)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _create(folder / VERIFY_KEY, public, 0o644)
    return key


def load_signing_key(path: Path) -> Ed25519PrivateKey:
    """The private key in a PEM file; raises BadSettings when it is no Ed25519 key."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise BadSettings(f"the signing key {path} cannot be read: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadSettings(f"the signing key {path} is not an Ed25519 key")
    return key


def load_verify_key(home: Path) -> Ed25519PublicKey:
    """The public key under home.

    Raises Unavailable when no trainer has made one yet, BadSettings when it is no Ed25519 key.
    """
    path = home / "keys" / VERIFY_KEY
    try:
        key = load_pem_public_key(path.read_bytes())
    except FileNotFoundError as error:
        raise Unavailable(f"there is no verify key at {path} yet: start the trainer") from error
    except (OSError, ValueError) as error:
        raise BadSettings(f"the verify key {path} cannot be read: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise BadSettings(f"the verify key {path} is not an Ed25519 key")
    return key


def sign(key: Ed25519PrivateKey, data: bytes) -> bytes:
    """64 bytes of signature over the data."""
    return key.sign(data)


def is_signed(key: Ed25519PublicKey, data: bytes, signature: bytes) -> bool:
    """Whether the signature over exactly these bytes was made with the key's other half."""
    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True


def _create(path: Path, data: bytes, mode: int) -> None:
    """Writes a file that is not there yet, whole; one that is there stays as it is."""
    incoming = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(incoming, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(incoming, path)
    except FileExistsError:
        pass
    finally:
        incoming.unlink()
