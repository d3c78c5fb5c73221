"""A few of a replay's questions over HTTP, to the serving processes in turn, never retried."""

from __future__ import annotations

import http.client
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from schemas.codec import encode
from schemas.predictions import RecommendRequest

_PATH = "/v1/recommend"
_KEPT_S = 2.0


class HttpAsker:
    """Keeps one connection per serving process; counts what failed and remembers the last why."""

    def __init__(self, urls: Sequence[str], timeout_s: float = 5.0, *, key: str = "") -> None:
        self._places = [urlsplit(url) for url in urls]
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._timeout_s = timeout_s
        self._open: dict[int, http.client.HTTPConnection] = {}
        self._used_s: dict[int, float] = {}
        self._turn = 0
        self.asked = 0
        self.failed = 0
        self.last_failure = ""

    @property
    def has_servers(self) -> bool:
        """Whether there is anyone to ask."""
        return bool(self._places)

    def ask(self, request: RecommendRequest) -> bool:
        """Asks the next server in turn; false when it did not answer well."""
        place = self._turn % len(self._places)
        self._turn += 1
        self.asked += 1
        try:
            status, text = self._post(place, encode(request))
        except (OSError, http.client.HTTPException) as error:
            status, text = 0, f"{type(error).__name__}: {error}"
            self._drop(place)
        if status == 200:
            return True
        self.failed += 1
        self.last_failure = f"{self._places[place].netloc} answered {status}: {text[:200]}"
        return False

    def close(self) -> None:
        """Closes the connections."""
        for place in list(self._open):
            self._drop(place)

    def _post(self, place: int, body: bytes) -> tuple[int, str]:
        # Servers close connections that idle; a question must not fail for that.
        if time.monotonic() - self._used_s.get(place, 0.0) > _KEPT_S:
            self._drop(place)
        self._used_s[place] = time.monotonic()
        connection = self._open.get(place)
        if connection is None:
            where = self._places[place]
            safe = where.scheme == "https"
            made = http.client.HTTPSConnection if safe else http.client.HTTPConnection
            connection = made(where.hostname or "127.0.0.1", where.port, timeout=self._timeout_s)
            self._open[place] = connection
        connection.request("POST", _PATH, body, self._headers)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, "" if answer.status == 200 else text.decode("utf-8", "replace")

    def _drop(self, place: int) -> None:
        connection = self._open.pop(place, None)
        if connection is not None:
            connection.close()
