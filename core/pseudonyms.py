"""Pseudonyms of visitor, user and session ids: HMAC-SHA-256 under a secret pepper, by key id.

The same id gives the same pseudonym wherever the same pepper is known, and none without it. Keys
are versioned: the newest makes pseudonyms, older ones tell what an id was called before. Reads no
file and puts no secret into any text.
"""

import base64
import hmac
import re
from typing import Literal

from schemas.errors import BadSettings

Kind = Literal["visitor", "user", "session"]
LEAST_KEY_BYTES = 16
_DIGEST_BYTES = 20
_MOST_CACHED = 100_000
_KEY_LINE = re.compile(r"(?P<id>[a-z0-9]{1,16}):(?P<secret>(?:[0-9a-fA-F]{2})+)")


class Pepper:
    """Keys by id, oldest first.

    >>> pepper = parse_pepper("k1:" + "00" * 32)
    >>> pepper.pseudonym("visitor", "ann")
    'k1.pcvrlecgvxik3ukkyumsjs7ngws2i56o'
    >>> pepper.former("visitor", "ann")
    []
    """

    def __init__(self, keys: list[tuple[str, bytes]]) -> None:
        self._keys = keys
        self._cache: dict[tuple[Kind, str], str] = {}

    def __repr__(self) -> str:
        return f"Pepper({', '.join(name for name, _ in self._keys)})"

    @property
    def has_former(self) -> bool:
        """Whether ids may have been called otherwise before."""
        return len(self._keys) > 1

    def pseudonym(self, kind: Kind, raw: str) -> str:
        """The id's pseudonym under the newest key: key id, a dot, 160 bits in base 32."""
        known = self._cache.get((kind, raw))
        if known is None:
            if len(self._cache) >= _MOST_CACHED:
                self._cache.clear()
            known = self._cache[(kind, raw)] = _pseudonym(self._keys[-1], kind, raw)
        return known

    def former(self, kind: Kind, raw: str) -> list[str]:
        """The id's pseudonyms under the earlier keys, oldest first."""
        return [_pseudonym(key, kind, raw) for key in self._keys[:-1]]

    def every(self, kind: Kind, raw: str) -> list[str]:
        """The id's pseudonyms under every key in use, oldest first: what an erasure acts on."""
        return [*self.former(kind, raw), self.pseudonym(kind, raw)]


def parse_pepper(text: str) -> Pepper:
    """The pepper of a file's text: lines `key id:hex`, newest last; blank ones and # are skipped.

    Raises:
        BadSettings: a line cannot be read, a key is short or named twice, or there is none. The
            message names the line's number and nothing of what it holds.
    """
    keys: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        found = _KEY_LINE.fullmatch(bare)
        if found is None:
            raise BadSettings(f"pepper file, line {number}: expected `key id:hexadecimal digits`")
        if len(found["secret"]) < 2 * LEAST_KEY_BYTES:
            raise BadSettings(f"pepper file, line {number}: the key needs {LEAST_KEY_BYTES} bytes")
        if found["id"] in keys:
            raise BadSettings(f"pepper file, line {number}: key {found['id']} is there twice")
        keys[found["id"]] = bytes.fromhex(found["secret"])
    if not keys:
        raise BadSettings("pepper file: it holds no key")
    return Pepper(list(keys.items()))


def _pseudonym(key: tuple[str, bytes], kind: Kind, raw: str) -> str:
    """Kinds are kept apart, so that a user id that equals a visitor id tells nothing.

    Source: RFC 2104 (HMAC), with SHA-256 cut to its leftmost 160 bits (section 5).
    """
    name, secret = key
    digest = hmac.digest(secret, f"{kind}\0{raw}".encode(), "sha256")[:_DIGEST_BYTES]
    return f"{name}.{base64.b32encode(digest).decode().lower()}"
