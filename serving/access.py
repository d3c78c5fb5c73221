"""Who may call the HTTP face: the check of this process, as its handlers use it.

It is made in `adapters/access_check.py`, since health servers of other processes have it too.
"""

from __future__ import annotations

import logging

from adapters.access_check import AccessCheck, Caller, Headers, access_check_of
from adapters.jwks_fetch import is_loopback
from adapters.shared_rates import buckets_of
from adapters.tls import TlsFiles, tls_of
from core.settings import Settings

__all__ = ["Access", "Caller"]

log = logging.getLogger(__name__)


class Access:
    """The check, and the TLS files of the server, of one process."""

    def __init__(self, check: AccessCheck, tls: TlsFiles | None = None) -> None:
        self._check = check
        self.tls = tls

    @classmethod
    def of(cls, settings: Settings) -> Access:
        """What the settings ask for.

        Raises:
            BadSettings: nobody could pass, or a file cannot be used; the text says what to do.
        """
        tls = tls_of(settings)
        is_required, buckets = bool(settings.http_port), buckets_of(settings)
        check = access_check_of(settings, is_required=is_required, buckets=buckets)
        if tls is None and settings.http_port and not is_loopback(settings.http_host):
            log.warning(
                "HTTP without TLS off loopback: keys travel as they are to whatever ends it"
            )
        return cls(check, tls)

    def check(self, headers: Headers, scope: str, cost: int = 1) -> Caller:
        """Whose request this is; raises Denied as `AccessCheck.check`."""
        return self._check.check(headers, scope, cost)

    def charge(self, caller: Caller, cost: int) -> Caller:
        """Counts further requests of a batch whose first `check` has counted; raises Denied (429)
        beyond the caller's rate: then none of them counts."""
        return self._check.charge(caller, cost, paid=1)

    def close(self) -> None:
        """Ends what fetches an issuer's keys."""
        self._check.close()
