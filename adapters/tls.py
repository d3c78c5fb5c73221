"""TLS of what a process serves over HTTP: its files, checked, and the context made of them.

Certificates end; the files are followed, so that a new one needs no restart. One that has ended is
not taken in the place of one that has not.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from cryptography import x509

from adapters.private_file import read_private
from core.settings import Settings
from schemas.errors import BadSettings

LOOKED_EVERY_S = 1.0

log = logging.getLogger(__name__)


class TlsFiles(msgspec.Struct, frozen=True):
    """PEM files: certificate with its chain, private key, and whom clients' certificates come from.

    `client_ca` is None where clients show none.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """A server's context: TLS 1.2 or newer; a client's certificate is required with a CA.

        Files that are replaced hold for new connections, within a second. Files that cannot be used
        are said in the log; those of before stay.

        Raises:
            BadSettings: a file cannot be used.
        """
        made = self.made()
        made.sni_callback = Followed(self, made)  # type: ignore[assignment]
        return made

    @property
    def stamp(self) -> tuple[tuple[int, int, int, int], ...]:
        """What changes when a file does; nothing when one is gone."""
        paths = (self.cert, self.key, self.client_ca)
        try:
            found = [path.stat() for path in paths if path is not None]
        except OSError:
            return ()
        return tuple((one.st_ino, one.st_mtime_ns, one.st_size, one.st_mode) for one in found)

    def ends_s(self) -> float:
        """When the certificate ends, epoch seconds; raises as `context`."""
        try:
            first = x509.load_pem_x509_certificates(self.cert.read_bytes())[0]
        except (OSError, ValueError) as error:
            raise BadSettings(f"SHOPLOOP_HTTP_TLS_CERT={self.cert}: no certificate") from error
        return first.not_valid_after_utc.timestamp()

    def made(self) -> ssl.SSLContext:
        """A context of the files as they are now; raises as `context`."""
        read_private(self.key, "SHOPLOOP_HTTP_TLS_KEY")
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # A password is asked for at a terminal otherwise.
            made.load_cert_chain(self.cert, self.key, password="")
        except (OSError, ssl.SSLError) as error:
            raise BadSettings(
                f"SHOPLOOP_HTTP_TLS_CERT={self.cert}, SHOPLOOP_HTTP_TLS_KEY={self.key}: no "
                "certificate with its unencrypted private key in PEM"
            ) from error
        if self.client_ca is not None:
            try:
                made.load_verify_locations(self.client_ca)
            except (OSError, ssl.SSLError) as error:
                raise BadSettings(
                    f"SHOPLOOP_HTTP_TLS_CLIENT_CA={self.client_ca}: no certificates in PEM"
                ) from error
            made.verify_mode = ssl.CERT_REQUIRED
        return made


class Followed:
    """Gives each connection that begins, with or without a server's name, the newest context.

    `ends_s` says when its certificate ends, epoch seconds.
    """

    def __init__(
        self,
        files: TlsFiles,
        context: ssl.SSLContext,
        clock: Callable[[], float] = time.monotonic,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self.ends_s = files.ends_s()
        self._now_s = now_s
        self._files = files
        self._seen = files.stamp
        self._context = context
        self._clock = clock
        self._looked_s = clock()

    def __call__(
        self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        """Called by ssl once a client has said hello."""
        if self._clock() - self._looked_s >= LOOKED_EVERY_S:
            self._looked_s = self._clock()
            self._look()
        connection.context = self._context

    def _look(self) -> None:
        stamp = self._files.stamp
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            made, ends_s = self._files.made(), self._files.ends_s()
            if ends_s < self._now_s() < self.ends_s:
                raise BadSettings(f"the certificate of {self._files.cert} has ended")
            self._context, self.ends_s = made, ends_s
        except BadSettings as error:
            log.error("the TLS files of before stay: %s", error)
        else:
            log.info("TLS files read")


def tls_of(settings: Settings) -> TlsFiles | None:
    """The files that the settings name, checked; None when HTTP is to speak plainly.

    Raises:
        BadSettings: one of certificate and key is missing, the key may be read by others, or a
            file cannot be used.
    """
    cert, key = settings.http_tls_cert, settings.http_tls_key
    if not cert and not key and not settings.http_tls_client_ca:
        return None
    if not cert or not key:
        raise BadSettings("SHOPLOOP_HTTP_TLS_CERT and SHOPLOOP_HTTP_TLS_KEY are wanted both")
    client_ca = Path(settings.http_tls_client_ca) if settings.http_tls_client_ca else None
    files = TlsFiles(Path(cert), Path(key), client_ca)
    files.made()
    return files
