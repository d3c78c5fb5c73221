"""One POST of JSON to an address that an operator named; says whether to try again.

Neither the address (it may hold a token) nor the secret is ever part of an error.
"""

import hashlib
import hmac
import http.client
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from schemas.errors import BadSettings, InvalidEvent, Unavailable

_ANSWER_WITHIN_S = 10.0
_TRY_AGAIN = frozenset({408, 425, 429})


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer: what is posted goes to the named address alone."""

    def redirect_request(self, *_: object) -> None:
        return None


class Webhook:
    """A receiver of posts, each signed when there is a secret.

    Raises:
        BadSettings: the address is no http(s) URL.
    """

    def __init__(self, url: str, secret: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadSettings("SHOPLOOP_ALERT_WEBHOOK must be an http:// or https:// address")
        self.name = f"webhook {parts.hostname}"
        self._url = url
        self._secret = secret.encode()
        self._open = urllib.request.build_opener(_NoRedirect).open

    def post(self, body: bytes, key: str) -> None:
        """Posts a body; `key` is the same whenever the same news is posted again.

        Raises:
            Unavailable: it did not answer, or said to come again (408, 425, 429, 5xx).
            InvalidEvent: it refused the body for good.
        """
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        if self._secret:
            headers["Shoploop-Signature"] = f"sha256={signature(self._secret, body)}"
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")
        try:
            with self._open(request, timeout=_ANSWER_WITHIN_S) as answer:
                answer.read(1_000)
        except urllib.error.HTTPError as error:
            status = error.code
            error.close()
            if status in _TRY_AGAIN or status >= 500:
                raise Unavailable(f"{self.name} answered {status}") from None
            raise InvalidEvent(f"status_{status}", f"{self.name} answered {status}") from None
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"{self.name}: {type(error).__name__}") from None


def signature(secret: bytes, body: bytes) -> str:
    """HMAC-SHA-256 of a body, as hexadecimal digits.

    >>> signature(b"secret", b"{}")[:16]
    '77325902caca812d'
    """
    return hmac.new(secret, body, hashlib.sha256).hexdigest()
