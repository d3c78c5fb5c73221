"""The door of a process: who may ask for what over HTTP, in a few microseconds a request.

On loopback with neither keys file nor issuer everything is open, for development. With either, and
always elsewhere, a key or a token is needed for everything but `/healthz`. Keys are checked anew
with each request (hashing one costs as much as remembering it), so that a revoked key ends with
the file that says so; tokens, whose signatures are dear, are remembered under a keyed hash.
Decides nothing itself: `core/access.py` and `core/rate_limit.py` do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NoReturn

import msgspec

from adapters.clock import wall_ms
from adapters.jwks_fetch import is_loopback
from adapters.jwt_issuer import Bearer, Issuer
from adapters.keys_file import KeysFile, keys_path
from core.access import Granted, Reason, allows, decide, parted
from core.rate_limit import Buckets, Limit, Rates, headers_of
from core.settings import Settings
from schemas.errors import BadSettings, Denied

Headers = Iterable[tuple[bytes, bytes]]
_CHALLENGE = 'Bearer realm="shoploop"'
_SAYS: dict[Reason, str] = {
    "missing": "an API key or a token is needed: Authorization: Bearer …, or X-API-Key: …",
    "invalid": "the key is not valid",
    "early": "the key is not valid yet",
    "expired": "the key is no longer valid",
    "scope": "the key is not allowed this",
    "place": "the key is not allowed this surface or task",
}


class Caller(msgspec.Struct, frozen=True):
    """Whose request it is: `name` for counting (a key's, or `token`), `headers` for the reply."""

    name: str
    headers: tuple[tuple[str, str], ...] = ()
    surfaces: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    identity: str = ""
    limit: Limit | None = None

    def check(self, *, surface: str = "", task: str = "") -> None:
        """Returns when the caller may ask about this surface and task; else raises Denied (403)."""
        outside = surface and self.surfaces and surface not in self.surfaces
        if outside or (task and self.tasks and task not in self.tasks):
            _deny("place")


ANYONE = Caller("anyone")


class AccessCheck:
    """Checks one request at a time; made by `access_check_of`, used from one thread or several.

    Args:
        keys: the keys file, followed.
        issuer: whose tokens are taken, if any.
        is_open_without_keys: whether everything is open as long as there are no keys.
        buckets: what each caller has left; by default counted for itself.
    """

    def __init__(
        self,
        keys: KeysFile,
        issuer: Issuer | None = None,
        *,
        is_open_without_keys: bool = False,
        now_ms: Callable[[], int] = wall_ms,
        now_s: Callable[[], float] = time.monotonic,
        buckets: Rates | None = None,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._may_be_open = is_open_without_keys and issuer is None
        self._now_ms = now_ms
        self._now_s = now_s
        self._buckets: Rates = Buckets() if buckets is None else buckets

    @property
    def is_open(self) -> bool:
        """Whether anyone may ask anything."""
        return self._may_be_open and self._keys.keys() is None

    def check(self, headers: Headers, scope: str, cost: int = 1) -> Caller:
        """The caller of a request, one that may ask for this now.

        Args:
            headers: names in lower case and values, as ASGI has them.
            scope: what the route needs, one of `core.access.SCOPES` or ANY.
            cost: how many requests it counts for.

        Raises:
            Denied: 401 without a valid key or token, 403 without the scope, 429 too often, 503
                while the issuer's keys are fetched.
        """
        keys = self._keys.keys()
        if keys is None and self._may_be_open:
            return ANYONE
        presented = presented_in(headers)
        if self._issuer is not None and presented and parted(presented) is None:
            caller = self._of_token(self._issuer.check(presented), scope)
        else:
            decision = decide(presented, keys or {}, scope, self._now_ms())
            if not isinstance(decision, Granted):
                _deny(decision.reason, scope)
            key = decision.key
            limit = Limit(key.rate, key.at_once) if key.rate else None
            caller = Caller(key.name, (), key.surfaces, key.tasks, "k" + key.key_id, limit)
        return self.charge(caller, cost)

    def charge(self, caller: Caller, cost: int, paid: int = 0) -> Caller:
        """Counts more requests against the caller's rate; raises Denied (429) beyond it.

        `paid` of the same call are counted already; they are given back when it is refused.
        """
        if caller.limit is None or cost < 1:
            return caller
        taken = self._buckets.take(caller.identity, caller.limit, self._now_s(), cost, paid)
        headers = tuple(headers_of(caller.limit, taken))
        if not taken.granted:
            raise Denied(429, "rate", "too many requests with this key", headers)
        return msgspec.structs.replace(caller, headers=headers)

    def _of_token(self, bearer: Bearer, scope: str) -> Caller:
        if not allows(bearer.scopes, scope):
            _deny("scope", scope)
        return Caller("token", identity="j" + bearer.subject, limit=bearer.limit)

    def close(self) -> None:
        """Ends what fetches the issuer's keys."""
        if self._issuer is not None:
            self._issuer.close()


def access_check_of(
    settings: Settings, *, is_required: bool = False, buckets: Rates | None = None
) -> AccessCheck:
    """The check these settings ask for.

    Args:
        settings: host, keys file and issuer.
        is_required: refuse to start where nobody could pass.
        buckets: what each caller has left; by default counted for itself.

    Raises:
        BadSettings: the keys file or the issuer cannot be used; or, where `is_required`, the host
            is not loopback and there are neither keys nor an issuer.
    """
    path = keys_path(settings)
    keys = KeysFile(path)
    issuer = Issuer.of(settings)
    local = is_loopback(settings.http_host)
    if is_required and not local and issuer is None and not keys.keys():
        raise BadSettings(
            f"SHOPLOOP_HTTP_HOST={settings.http_host} is not loopback and {path} has no keys: make "
            "one (`shoploop keys create NAME --scopes recommend,events`), or set "
            "SHOPLOOP_JWT_ISSUER and SHOPLOOP_JWT_AUDIENCE"
        )
    return AccessCheck(keys, issuer, is_open_without_keys=local, buckets=buckets)


def presented_in(headers: Headers) -> str | None:
    """The key or token in the headers: `Authorization: Bearer …` before `X-API-Key: …`.

    >>> presented_in([(b"host", b"shop"), (b"authorization", b"Bearer sl_a_b")])
    'sl_a_b'
    """
    other = None
    for name, value in headers:
        if name == b"authorization":
            scheme, _, text = value.partition(b" ")
            if scheme.lower() == b"bearer":
                return text.strip().decode("latin-1")
        elif name == b"x-api-key":
            other = value.decode("latin-1")
    return other


def _deny(reason: Reason, scope: str = "") -> NoReturn:
    """Raises Denied. Source of the challenge: RFC 6750, section 3."""
    if reason == "missing":
        raise Denied(401, reason, _SAYS[reason], [("WWW-Authenticate", _CHALLENGE)])
    if reason in ("scope", "place"):
        needed = f', error="insufficient_scope", scope="{scope}"' if scope else ""
        detail = f"{_SAYS[reason]}: scope {scope} is needed" if scope else _SAYS[reason]
        headers = [("WWW-Authenticate", _CHALLENGE + needed)] if scope else []
        raise Denied(403, reason, detail, headers)
    raise Denied(
        401, reason, _SAYS[reason], [("WWW-Authenticate", _CHALLENGE + ', error="invalid_token"')]
    )
