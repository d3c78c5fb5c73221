"""Tokens of an issuer on loopback: what passes, and every forgery that must not."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from adapters.access_check import AccessCheck
from adapters.jwt_issuer import Issuer, fetcher
from adapters.keys_file import KeysFile
from core.settings import Settings
from schemas.errors import BadSettings, Denied

AUDIENCE = "shoploop"
RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
OTHER = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
_ALGORITHM: dict[Any, Any] = {
    "rsa": (RSA, "RS256", jwt.algorithms.RSAAlgorithm),
    "ec": (EC, "ES256", jwt.algorithms.ECAlgorithm),
    "ed": (ED, "EdDSA", jwt.algorithms.OKPAlgorithm),
}


def jwk(kid: str) -> dict[str, Any]:
    key, _, algorithm = _ALGORITHM[kid]
    return algorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid, "use": "sig"}


class LocalIssuer:
    """Discovery and keys over HTTP on loopback; counts how often the keys were asked for."""

    def __init__(self) -> None:
        self.kids = ["rsa", "ec"]
        self.extra: list[dict[str, Any]] = []
        self.asked = 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/keys":
                    owner.asked += 1
                    body: Any = {"keys": [jwk(kid) for kid in owner.kids] + owner.extra}
                else:
                    body = {"issuer": owner.url, "jwks_uri": f"{owner.url}/keys"}
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def local() -> Iterator[LocalIssuer]:
    made = LocalIssuer()
    yield made
    made.close()


@pytest.fixture
def issuer(local: LocalIssuer) -> Iterator[Issuer]:
    local.kids, local.extra = ["rsa", "ec"], []
    made = Issuer(local.url, AUDIENCE, fetcher(local.url, ""), asked_again_after_s=0.05)
    yield made
    made.close()


def token(
    local: LocalIssuer, kid: str = "rsa", *, key: Any = None, alg: str = "", **claims: Any
) -> str:
    private, algorithm, _ = _ALGORITHM.get(kid, (RSA, "RS256", None))
    body = {
        "iss": local.url,
        "aud": AUDIENCE,
        "sub": "client-7",
        "exp": int(time.time()) + 600,
        "scope": "recommend openid",
    } | claims
    body = {name: value for name, value in body.items() if value is not None}
    return jwt.encode(body, key or private, alg or algorithm, headers={"kid": kid})


def checked(issuer: Issuer, text: str) -> Any:
    """The bearer, waiting while keys are fetched."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return issuer.check(text)
        except Denied as error:
            if error.status != 503 or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def refused(issuer: Issuer, text: str) -> Denied:
    with pytest.raises(Denied) as caught:
        checked(issuer, text)
    assert caught.value.status == 401
    return caught.value


@pytest.mark.parametrize("kid", ["rsa", "ec"])
def test_a_token_of_the_issuer_passes_with_its_scopes(
    local: LocalIssuer, issuer: Issuer, kid: str
) -> None:
    found = checked(issuer, token(local, kid))
    assert (found.subject, found.scopes) == ("client-7", ("recommend",))
    assert checked(issuer, token(local, kid)).subject == "client-7"
    assert checked(issuer, token(local, kid, scope=None, scp=["events", "*"])).scopes == ("events",)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1_000_000_000},
        {"nbf": 100_000_000_000},
        {"aud": "another"},
        {"aud": None},
        {"iss": "https://another.example"},
        {"exp": None},
        {"sub": None},
    ],
    ids=str,
)
def test_claims_that_are_not_right_are_refused(
    local: LocalIssuer, issuer: Issuer, claims: dict[str, Any]
) -> None:
    refused(issuer, token(local, **claims))


def test_forged_tokens_are_refused(local: LocalIssuer, issuer: Issuer) -> None:
    good = token(local)
    checked(issuer, good)
    head, body, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    other = _part(claims | {"scope": "admin"})
    none = _part({"alg": "none", "typ": "JWT", "kid": "rsa"})
    public = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    hmac_head = _part({"alg": "HS256", "typ": "JWT", "kid": "rsa"})
    signed = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    by_public = signed.sign(f"{hmac_head}.{body}".encode(), public)
    for text in (
        f"{head}.{other}.{signature}",
        f"{none}.{body}.",
        f"{none}.{body}.{signature}",
        f"{hmac_head}.{body}.{_letters(by_public)}",
        token(local, key=OTHER),
        token(local, "ec", key=RSA, alg="RS256"),
        token(local, alg="RS512"),
        good + "x" * 9_000,
        "a.b.c",
        f"{_letters(b'[' * 6_000)}.{body}.{signature}",
        "ÿ",
    ):
        error = refused(issuer, text)
        assert text not in str(error)


def test_a_symmetric_key_in_the_set_is_never_used(local: LocalIssuer, issuer: Issuer) -> None:
    local.extra = [{"kty": "oct", "kid": "shared", "k": _letters(b"s" * 32), "alg": "HS256"}]
    fresh = Issuer(local.url, AUDIENCE, fetcher(local.url, ""), asked_again_after_s=0.05)
    text = token(local, "shared", key=b"s" * 32, alg="HS256")
    checked(fresh, token(local))
    refused(fresh, text)
    fresh.close()


def test_a_new_kid_is_fetched_and_strange_ones_cause_no_storm(local: LocalIssuer) -> None:
    local.kids, local.extra = ["rsa"], []
    patient = Issuer(local.url, AUDIENCE, fetcher(local.url, ""), asked_again_after_s=3_600)
    checked(patient, token(local))
    asked = local.asked
    for _ in range(50):
        refused(patient, token(local, "strange"))
    assert local.asked == asked
    patient.close()
    quick = Issuer(local.url, AUDIENCE, fetcher(local.url, ""), asked_again_after_s=0.01)
    checked(quick, token(local))
    local.kids = ["ed"]
    deadline = time.monotonic() + 60
    while True:  # refused while the last fetch is fresh, then fetched
        try:
            assert checked(quick, token(local, "ed")).subject == "client-7"
            break
        except Denied:
            assert time.monotonic() < deadline
        time.sleep(0.01)
    refused(quick, token(local))  # its key was withdrawn, remembered or not
    quick.close()


def test_what_nobody_thought_of_in_the_keys_is_outlived(local: LocalIssuer) -> None:
    local.kids, calls, fetch = ["rsa"], 0, fetcher(local.url, "")

    def odd() -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RecursionError("deep")
        return fetch()

    made = Issuer(local.url, AUDIENCE, odd, asked_again_after_s=0.01)
    assert checked(made, token(local)).subject == "client-7"
    made.close()


def test_keys_from_a_file_and_through_the_whole_check(local: LocalIssuer, tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [jwk("rsa")]}))
    settings = Settings(
        jwt_issuer=local.url, jwt_audience=AUDIENCE, jwt_jwks=str(file), jwt_rate=1.0
    )
    issuer = Issuer.of(settings)
    assert issuer is not None
    text = token(local)
    checked(issuer, text)
    check = AccessCheck(KeysFile(tmp_path / "none.json"), issuer, is_open_without_keys=True)
    headers = [(b"authorization", f"Bearer {text}".encode())]
    assert status_of(check, headers, "search") == 403
    assert status_of(check, headers, "recommend") == 200
    assert status_of(check, headers, "recommend") == 429
    assert status_of(check, [], "recommend") == 401
    check.close()


def status_of(check: AccessCheck, headers: Any, scope: str) -> int:
    try:
        check.check(headers, scope)
    except Denied as error:
        return error.status
    return 200


def test_an_issuer_wants_an_audience_and_a_safe_address() -> None:
    assert Issuer.of(Settings()) is None
    for settings in (
        Settings(jwt_issuer="https://id.example"),
        Settings(jwt_issuer="http://id.example", jwt_audience="a"),
        Settings(jwt_issuer="https://id.example", jwt_audience="a", jwt_jwks="http://id.example/k"),
    ):
        with pytest.raises(BadSettings, match="SHOPLOOP_JWT"):
            Issuer.of(settings)


def _part(value: dict[str, Any]) -> str:
    return _letters(json.dumps(value).encode())


def _letters(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
