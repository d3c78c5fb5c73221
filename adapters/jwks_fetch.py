"""JSON documents of an issuer, over https (http on loopback alone), bounded in time and size."""

from __future__ import annotations

import http.client
import ipaddress
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from core.settings import redacted
from schemas.errors import BadSettings, Unavailable

WITHIN_S = 5.0
_LARGEST_BYTES = 1_048_576


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Answers no redirect: it could lead from https to anywhere."""

    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        """Nothing to follow."""


_OPENER = urllib.request.build_opener(_NoRedirect)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_address(name: str, address: str) -> None:
    """Returns when keys may be fetched there; raises BadSettings for http beyond loopback."""
    parts = urlsplit(address)
    local = is_loopback(parts.hostname or "")
    if (
        not parts.hostname
        or parts.scheme not in ("https", "http")
        or (parts.scheme == "http" and not local)
    ):
        raise BadSettings(f"{name}: expected an https address (http on loopback alone)")


def fetch_json(address: str) -> Mapping[str, Any]:
    """The object at an address.

    Raises:
        Unavailable: no answer in time, or none that is an object.
    """
    try:
        with _OPENER.open(address, timeout=WITHIN_S) as answer:
            data = answer.read(_LARGEST_BYTES + 1)
        found = json.loads(data) if len(data) <= _LARGEST_BYTES else None
    except (OSError, http.client.HTTPException, ValueError, urllib.error.URLError) as error:
        raise Unavailable(f"{redacted(address)}: {type(error).__name__}") from error
    if not isinstance(found, dict):
        raise Unavailable(f"{redacted(address)}: no JSON object of reasonable size")
    return found
