"""Whether a server is there at all, asked before the long deadline of a real question."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from schemas.errors import Unavailable

_WITHIN_S = 3.0
_DEFAULT_PORTS = {"http": 8123, "https": 8443}


def reach_clickhouse(dsn: str) -> None:
    """Return when something accepts a connection at the DSN's address.

    A DSN that does not parse passes: the client says what is wrong with it.

    Raises:
        Unavailable: nothing does; the text says how to mend it.
    """
    parts = urlsplit(dsn)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    if not parts.hostname or port is None:
        return
    try:
        socket.create_connection((parts.hostname, port), timeout=_WITHIN_S).close()
    except OSError as error:
        raise Unavailable(
            f"ClickHouse at {parts.hostname}:{port} does not answer ({error.strerror or error}): "
            "start it with `shoploop up`, or set SHOPLOOP_CLICKHOUSE"
        ) from error
