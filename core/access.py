"""Who may ask what: API keys as they are stored, and the decision about one that is presented.

A key reads `sl_ID_SECRET`: the id finds its entry, the secret proves it. Stored is BLAKE2b of the
secret under a salt of its own. A slow password hash (scrypt, Argon2) would guard a secret that can
be guessed; these have 200 random bits, so that no speed of hashing helps, and a request pays
microseconds. A key may have two valid secrets at once, so that callers change over without a gap.
Knows no file, clock, randomness or HTTP.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Literal, get_args

import msgspec

from schemas.errors import BadSettings

Scope = Literal[
    "recommend", "search", "classify", "events", "feedback", "explain", "metrics", "admin"
]
SCOPES: tuple[str, ...] = get_args(Scope)
EVERY = "*"
"""The scope that stands for all of them."""
ANY = ""
"""What a route asks for that any valid key may read."""
ID_BYTES, SECRET_BYTES, SALT_BYTES = 5, 25, 16
MOST_SECRETS = 2
_PREFIX = "sl_"
_LONGEST = 128
_PERSON = b"shoploop-api-key"

Reason = Literal["missing", "invalid", "early", "expired", "scope", "place"]
STATUS: dict[Reason, int] = {
    "missing": 401,
    "invalid": 401,
    "early": 401,
    "expired": 401,
    "scope": 403,
    "place": 403,
}


class StoredSecret(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One secret of a key as it lies in the file: salt and digest in hexadecimal digits.

    Valid before `until_ms` (UTC epoch milliseconds), for ever when None.
    """

    salt: str
    digest: str
    made_ms: int
    until_ms: int | None = None


class ApiKey(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """One caller: what it may ask, where, from when to when, and how often.

    Empty `surfaces` or `tasks` mean all of them. `rate` is requests per second, 0 without a limit;
    `burst` how many may come at once, 0 for one second's worth.
    """

    key_id: str
    name: str
    scopes: tuple[str, ...]
    secrets: tuple[StoredSecret, ...]
    made_ms: int
    surfaces: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    from_ms: int | None = None
    until_ms: int | None = None
    rate: float = 0.0
    burst: int = 0

    @property
    def at_once(self) -> int:
        """How many requests a rested caller may send in one go."""
        return self.burst or max(1, round(self.rate))


class KeyRing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys file."""

    keys: tuple[ApiKey, ...] = ()

    @property
    def by_id(self) -> dict[str, ApiKey]:
        """The keys by their id."""
        return {each.key_id: each for each in self.keys}


class Granted(msgspec.Struct, frozen=True):
    """The caller may ask."""

    key: ApiKey


class Refused(msgspec.Struct, frozen=True):
    """The caller may not: a stable word and the HTTP status that says so."""

    reason: Reason

    @property
    def status(self) -> int:
        """401 when a better key would help, 403 when this one is known and not enough."""
        return STATUS[self.reason]


def decide(
    presented: str | None, keys: Mapping[str, ApiKey], scope: str, now_ms: int
) -> Granted | Refused:
    """Whether what was presented may do what `scope` names, at `now_ms`.

    An id that is not known and a secret that is wrong are refused alike and after like work.

    >>> text, key = issued("shop", ("recommend",), bytes(5), bytes(25), bytes(16), now_ms=0)
    >>> decide(text, {key.key_id: key}, "recommend", 1).key.name
    'shop'
    >>> decide(text, {key.key_id: key}, "admin", 1)
    Refused(reason='scope')
    """
    if not presented:
        return Refused("missing")
    parts = parted(presented)
    if parts is None:
        return Refused("invalid")
    key = keys.get(parts[0])
    if not _proves(parts[1], key.secrets if key is not None else _NOBODY, now_ms) or key is None:
        return Refused("invalid")
    if key.from_ms is not None and now_ms < key.from_ms:
        return Refused("early")
    if key.until_ms is not None and now_ms >= key.until_ms:
        return Refused("expired")
    return Granted(key) if allows(key.scopes, scope) else Refused("scope")


def allows(scopes: Sequence[str], scope: str) -> bool:
    """Whether these scopes include what is asked for.

    >>> allows(("events", "recommend"), "recommend"), allows(("*",), "admin"), allows((), ANY)
    (True, True, True)
    """
    return scope == ANY or scope in scopes or EVERY in scopes


def parted(presented: str) -> tuple[str, str] | None:
    """Id and secret of a key's text; None when it has not the form of one.

    >>> parted("sl_aaaaaaaa_" + "b" * 40)
    ('aaaaaaaa', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb')
    >>> parted("Basic c2hvcA==")
    """
    if not presented.startswith(_PREFIX) or len(presented) > _LONGEST or not presented.isascii():
        return None
    key_id, _, secret = presented[len(_PREFIX) :].partition("_")
    return (key_id, secret) if key_id and secret else None


def issued(
    name: str,
    scopes: Sequence[str],
    id_bytes: bytes,
    secret_bytes: bytes,
    salt: bytes,
    *,
    now_ms: int,
) -> tuple[str, ApiKey]:
    """A new key: the text for its caller, which is nowhere else, and the entry to store.

    Raises:
        BadSettings: a scope is not one, or there is none.
    """
    checked_scopes(scopes)
    key_id = _letters(id_bytes)
    text, stored = new_secret(key_id, secret_bytes, salt, now_ms=now_ms)
    key = ApiKey(key_id=key_id, name=name, scopes=tuple(scopes), secrets=(stored,), made_ms=now_ms)
    return text, key


def new_secret(
    key_id: str, secret_bytes: bytes, salt: bytes, *, now_ms: int
) -> tuple[str, StoredSecret]:
    """The text of a key with a new secret, and what is stored of it."""
    secret = _letters(secret_bytes)
    stored = StoredSecret(salt=salt.hex(), digest=_digest(secret, salt).hex(), made_ms=now_ms)
    return f"{_PREFIX}{key_id}_{secret}", stored


def rotated(key: ApiKey, fresh: StoredSecret, now_ms: int, overlap_ms: int) -> ApiKey:
    """The key with a fresh secret; the newest before it ends after the overlap, others now."""
    alive = [each for each in key.secrets if _is_alive(each, now_ms)][-(MOST_SECRETS - 1) :]
    end = now_ms + overlap_ms
    ending = [
        msgspec.structs.replace(
            each, until_ms=end if each.until_ms is None else min(end, each.until_ms)
        )
        for each in alive
        if overlap_ms > 0
    ]
    return msgspec.structs.replace(key, secrets=(*ending, fresh))


def checked_scopes(scopes: Sequence[str]) -> None:
    """Returns when every scope is one.

    Raises:
        BadSettings: one is not, or there is none; the text lists them.
    """
    strange = [each for each in scopes if each not in SCOPES and each != EVERY]
    if strange or not scopes:
        what = f"no scope {strange[0]!r}" if strange else "a key needs a scope"
        raise BadSettings(f"{what}: there are {', '.join(SCOPES)} and {EVERY} for all")


def parse_keys(data: bytes) -> KeyRing:
    """The keys of a file's bytes.

    Raises:
        BadSettings: it is not JSON of this form, an id occurs twice, or a key cannot be used; the
            text quotes no digest.
    """
    try:
        ring = msgspec.json.decode(data, type=KeyRing)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadSettings(f"is no keys file: {error}") from error
    if len(ring.by_id) != len(ring.keys):
        raise BadSettings("an id occurs twice")
    for key in ring.keys:
        _check(key)
    return ring


def _check(key: ApiKey) -> None:
    checked_scopes(key.scopes)
    if not key.secrets or len(key.secrets) > MOST_SECRETS:
        raise BadSettings(f"key {key.key_id}: expected one secret, or two while it is rotated")
    if not 0 <= key.rate < 1e9 or key.burst < 0:
        raise BadSettings(f"key {key.key_id}: rate and burst are 0 or more")
    for each in key.secrets:
        try:
            size = len(bytes.fromhex(each.digest)), len(bytes.fromhex(each.salt))
        except ValueError:
            size = (0, 0)
        if size != (32, SALT_BYTES):
            raise BadSettings(f"key {key.key_id}: salt and digest are 16 and 32 bytes in hex")


def _proves(secret: str, stored: Sequence[StoredSecret], now_ms: int) -> bool:
    """Whether the secret is one of those that are valid now; all are compared, in constant time."""
    proven = False
    for each in stored:
        digest = _digest(secret, bytes.fromhex(each.salt))
        same = hmac.compare_digest(digest, bytes.fromhex(each.digest))
        proven |= same and _is_alive(each, now_ms)
    return proven


def _is_alive(secret: StoredSecret, now_ms: int) -> bool:
    return secret.until_ms is None or now_ms < secret.until_ms


def _digest(secret: str, salt: bytes) -> bytes:
    return blake2b(secret.encode(), digest_size=32, salt=salt, person=_PERSON).digest()


def _letters(data: bytes) -> str:
    """Bytes as lower-case base 32 without padding: no character that a shell or a header minds."""
    return base64.b32encode(data).decode().rstrip("=").lower()


_NOBODY = (StoredSecret(salt="00" * SALT_BYTES, digest="00" * 32, made_ms=0),)
