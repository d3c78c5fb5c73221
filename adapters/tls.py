"""TLS of what a process serves over HTTP: its files, checked, and the context made of them."""

from __future__ import annotations

import ssl
from pathlib import Path

import msgspec

from adapters.private_file import read_private
from core.settings import Settings
from schemas.errors import BadSettings


class TlsFiles(msgspec.Struct, frozen=True):
    """PEM files: certificate with its chain, private key, and whom clients' certificates come from.

    `client_ca` is None where clients show none.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """A server's context: TLS 1.2 or newer; a client's certificate is required with a CA.

        Raises:
            BadSettings: a file cannot be used.
        """
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
    read_private(Path(key), "SHOPLOOP_HTTP_TLS_KEY")
    client_ca = Path(settings.http_tls_client_ca) if settings.http_tls_client_ca else None
    files = TlsFiles(Path(cert), Path(key), client_ca)
    files.context()
    return files
