"""Tokens of an OpenID Connect issuer: its public keys, followed, and the check of one token.

Keys come from `SHOPLOOP_JWT_JWKS` (an address or a file), else by discovery. They are fetched by a
thread of their own: when it starts, every five minutes, and when a token names a key that is not
known, at most once in ten seconds, so that strange tokens cause no storm. Only signatures by a
private key are taken (RS256, ES256, EdDSA), each with the algorithm of its own public key: neither
`none` nor an HMAC keyed with something public passes. Logs hold no token and no claim.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, NoReturn

import jwt
import msgspec

from adapters.clock import wall_ms
from adapters.jwks_fetch import checked_address, fetch_json
from core.access import SCOPES
from core.rate_limit import Limit
from core.settings import Settings
from schemas.errors import BadSettings, Denied, Unavailable

ALGORITHMS = ("RS256", "ES256", "EdDSA")
LEEWAY_S = 30
REFRESHED_EVERY_S = 300.0
ASKED_AGAIN_AFTER_S = 10.0
_LONGEST = 8_192
_MOST_REMEMBERED = 4_096
_CHALLENGE = 'Bearer realm="shoploop", error="invalid_token"'
_UNREADABLE = (jwt.PyJWTError, ValueError, TypeError, RecursionError)
"""What the library raises for a token; for JSON of a thousand brackets, the last."""

log = logging.getLogger(__name__)
Keys = Mapping[str, jwt.PyJWK]


class Bearer(msgspec.Struct, frozen=True):
    """Whom a token speaks of, and what they may ask."""

    subject: str
    scopes: tuple[str, ...]
    limit: Limit | None = None


class Issuer:
    """Checks tokens against the keys fetched last; made by `of`, closed at the end."""

    def __init__(
        self,
        issuer: str,
        audience: str,
        fetch: Callable[[], Keys],
        *,
        rate: float = 0.0,
        asked_again_after_s: float = ASKED_AGAIN_AFTER_S,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._fetch = fetch
        self._limit = Limit(rate, max(1, round(rate))) if rate > 0 else None
        self._gap_s = asked_again_after_s
        self._keys: Keys | None = None
        self._remembered: OrderedDict[bytes, tuple[Bearer, int]] = OrderedDict()
        self._secret = os.urandom(32)
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._fetched_s = -float("inf")
        self._thread = threading.Thread(target=self._follow, name="jwks", daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, settings: Settings) -> Issuer | None:
        """The issuer that the settings name; None when they name none.

        Raises:
            BadSettings: it has no audience, or an address that is neither https nor loopback.
        """
        if not settings.jwt_issuer:
            return None
        if not settings.jwt_audience:
            raise BadSettings("SHOPLOOP_JWT_AUDIENCE is wanted beside SHOPLOOP_JWT_ISSUER")
        fetch = fetcher(settings.jwt_issuer, settings.jwt_jwks)
        return cls(settings.jwt_issuer, settings.jwt_audience, fetch, rate=settings.jwt_rate)

    def check(self, token: str) -> Bearer:
        """Whom a token speaks of.

        Raises:
            Denied: 401 when it is not valid here and now, 503 while the keys are fetched.
        """
        seal = blake2b(token.encode("latin-1", "replace"), key=self._secret, digest_size=16)
        with self._lock:
            known = self._remembered.get(seal.digest())
        if known is not None and wall_ms() < known[1]:
            return known[0]
        key = self._key_of(token)
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except _UNREADABLE as error:
            _refuse(error)
        bearer = Bearer(str(claims["sub"]), scopes_of(claims), self._limit)
        self._remember(seal.digest(), bearer, (int(claims["exp"]) + LEEWAY_S) * 1_000, key)
        return bearer

    def close(self) -> None:
        """Ends the thread."""
        self._closing.set()
        self._wanted.set()
        self._thread.join(timeout=5)

    def _key_of(self, token: str) -> jwt.PyJWK:
        try:
            if len(token) > _LONGEST:
                raise jwt.DecodeError("too long")
            kid = jwt.get_unverified_header(token).get("kid")
        except _UNREADABLE as error:
            _refuse(error)
        keys = self._keys
        if keys is not None:
            if kid is None and len(keys) == 1:
                return next(iter(keys.values()))
            found = keys.get(str(kid))
            if found is not None:
                return found
            if time.monotonic() - self._fetched_s < self._gap_s:
                _refuse(jwt.InvalidKeyError("unknown kid"))
        self._wanted.set()
        raise Denied(503, "issuer", "the issuer's keys are being fetched", [("Retry-After", "1")])

    def _remember(self, seal: bytes, bearer: Bearer, until_ms: int, key: jwt.PyJWK) -> None:
        with self._lock:
            if self._keys is None or key not in self._keys.values():
                return  # the keys changed meanwhile
            self._remembered[seal] = (bearer, until_ms)
            while len(self._remembered) > _MOST_REMEMBERED:
                self._remembered.popitem(last=False)

    def _follow(self) -> None:
        while not self._closing.is_set():
            self._wanted.clear()
            self._refresh()
            # Asked for sooner, it is done once the gap is over.
            if not self._closing.wait(self._gap_s):
                self._wanted.wait(REFRESHED_EVERY_S if self._keys is not None else 0)

    def _refresh(self) -> None:
        try:
            keys = self._fetch()
        except (Unavailable, BadSettings) as error:
            log.warning("the issuer's keys were not read, those of before stay: %s", error)
        except Exception as error:  # whatever an issuer sends, it is asked again
            log.error("the issuer's keys were not read, those of before stay", exc_info=error)
        else:
            with self._lock:
                self._keys = keys
                self._remembered.clear()
        self._fetched_s = time.monotonic()


def fetcher(issuer: str, place: str) -> Callable[[], Keys]:
    """What reads the keys: from a file, an address, or what the issuer's discovery names.

    Raises:
        BadSettings: an address is neither https nor on loopback.
    """
    if place and "://" not in place:
        return lambda: keys_of(_from_file(Path(place).expanduser()))
    if place:
        checked_address("SHOPLOOP_JWT_JWKS", place)
        return lambda: keys_of(fetch_json(place))
    checked_address("SHOPLOOP_JWT_ISSUER", issuer)

    def discover() -> Keys:
        # Source: OpenID Connect Discovery 1.0, section 4.
        found = fetch_json(issuer.rstrip("/") + "/.well-known/openid-configuration")
        address = found.get("jwks_uri")
        if found.get("issuer") != issuer or not isinstance(address, str):
            raise BadSettings("discovery names another issuer than SHOPLOOP_JWT_ISSUER, or no keys")
        checked_address("jwks_uri", address)
        return keys_of(fetch_json(address))

    return discover


def keys_of(document: Mapping[str, Any]) -> Keys:
    """The keys of a JWK set that tokens may be signed with, by kid. Source: RFC 7517.

    Raises:
        BadSettings: there is none.
    """
    listed = document.get("keys")
    found: dict[str, jwt.PyJWK] = {}
    for each in listed if isinstance(listed, list) else []:
        if not isinstance(each, dict) or each.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(each)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        if key.algorithm_name in ALGORITHMS:
            found[str(key.key_id)] = key
    if not found:
        raise BadSettings(f"the JWK set has no key for {', '.join(ALGORITHMS)}")
    return found


def scopes_of(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """The scopes that a token grants, in `scope` (RFC 8693, section 4.2) or `scp`; no wildcard.

    >>> scopes_of({"scope": "openid recommend *", "scp": ["events"]})
    ('recommend', 'events')
    """
    found: list[str] = []
    for claim in (claims.get("scope"), claims.get("scp")):
        if isinstance(claim, str):
            found.extend(claim.split())
        elif isinstance(claim, list):
            found.extend(each for each in claim if isinstance(each, str))
    return tuple(each for each in found if each in SCOPES)


def _from_file(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadSettings(f"SHOPLOOP_JWT_JWKS={path}: cannot be read as JSON") from error
    return found if isinstance(found, dict) else {}


def _refuse(error: Exception) -> NoReturn:
    """Raises Denied with what the library objects to, by its name alone: texts may quote claims."""
    kind = type(error).__name__.removesuffix("Error")
    raise Denied(
        401, "invalid", f"the token is not valid here ({kind})", [("WWW-Authenticate", _CHALLENGE)]
    ) from None
