"""The health server of any process: `/healthz` is open, `/metrics` wants a key, both over TLS."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from certificates import Authority

from adapters import tls
from adapters.health import MOST_CONNECTIONS, start_health
from adapters.keys_file import keys_path, write_keys
from adapters.tls import tls_of
from core.access import KeyRing, issued
from core.settings import Settings
from local.child import answers_ok
from local.replay_http import HttpAsker
from schemas.errors import BadSettings
from schemas.predictions import RecommendRequest


def running(settings: Settings) -> Iterator[str]:
    health = start_health(settings, lambda: True, lambda: "up 1\n")
    scheme = "https" if settings.http_tls_cert else "http"
    yield f"{scheme}://127.0.0.1:{health.port}"
    health.stop()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_loopback_without_keys_is_open(tmp_path: Path) -> None:
    for url in running(Settings(home=str(tmp_path))):
        assert httpx.get(f"{url}/metrics").text == "up 1\n"


def test_silent_callers_keep_nobody_from_the_health_page(tmp_path: Path) -> None:
    for url in running(Settings(home=str(tmp_path))):
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        with ExitStack() as stack:
            silent = [
                stack.enter_context(socket.create_connection(address, timeout=60))
                for _ in range(MOST_CONNECTIONS + 1)
            ]
            assert httpx.get(f"{url}/healthz").json() == {"ready": True}
            assert silent[0].recv(1) == b""


def test_one_that_is_slow_to_leave_keeps_no_place(tmp_path: Path) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def metrics() -> str:
        begun.set()
        assert may_end.wait(60)
        return ""

    health = start_health(Settings(home=str(tmp_path)), lambda: True, metrics)
    address = ("127.0.0.1", health.port)
    with ExitStack() as stack:
        stack.callback(health.stop)
        stack.callback(may_end.set)
        slow = stack.enter_context(socket.create_connection(address, timeout=60))
        slow.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert begun.wait(60)
        silent = [
            stack.enter_context(socket.create_connection(address, timeout=60))
            for _ in range(MOST_CONNECTIONS + 2)
        ]
        assert silent[0].recv(1) == b""


def test_elsewhere_metrics_want_a_key_with_the_scope(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path), http_host="0.0.0.0")
    good, one = issued("watch", ("metrics",), b"1" * 5, b"1" * 25, bytes(16), now_ms=0)
    other, two = issued("shop", ("events",), b"2" * 5, b"2" * 25, bytes(16), now_ms=0)
    for url in running(settings):
        assert httpx.get(f"{url}/metrics").status_code == 401
        assert httpx.get(f"{url}/healthz").json() == {"ready": True}
    write_keys(keys_path(settings), KeyRing(keys=(one, two)))
    for url in running(settings):
        refused = httpx.get(f"{url}/metrics")
        assert (refused.status_code, refused.headers["www-authenticate"][:6]) == (401, "Bearer")
        assert httpx.get(f"{url}/metrics", headers={"X-API-Key": other}).status_code == 403
        assert httpx.get(f"{url}/metrics", headers={"X-API-Key": good}).text == "up 1\n"
        assert httpx.get(f"{url}/healthz").status_code == 200


def test_a_replay_shows_its_key_to_serving() -> None:
    seen: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.headers["Authorization"])
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        asker = HttpAsker([f"http://127.0.0.1:{server.server_address[1]}"], key="sl_a_b")
        request = RecommendRequest(request_id="r", visitor_id="v", surface="home")
        assert asker.ask(request)
        asker.close()
        server.shutdown()
        thread.join()
    assert seen == ["Bearer sl_a_b"]


def test_tls_of_a_health_server(tmp_path: Path, authority: Authority) -> None:
    cert, key = authority.issue("server")
    settings = Settings(home=str(tmp_path), http_tls_cert=str(cert), http_tls_key=str(key))
    trusting = ssl.create_default_context(cafile=authority.ca)
    for url in running(settings):
        assert httpx.get(f"{url}/healthz", verify=trusting).status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{url}/healthz")
        assert answers_ok(f"{url}/healthz")
        old = ssl.create_default_context(cafile=authority.ca)
        old.minimum_version = ssl.TLSVersion.TLSv1_2
        assert httpx.get(f"{url}/healthz", verify=old).status_code == 200


def test_new_tls_files_hold_for_new_connections_and_bad_ones_change_nothing(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LOOKED_EVERY_S", 0.0)
    cert, key = authority.issue("server")
    first = cert.read_bytes()
    settings = Settings(home=str(tmp_path), http_tls_cert=str(cert), http_tls_key=str(key))
    for url in running(settings):
        place = ("127.0.0.1", int(url.rpartition(":")[2]))

        def shown(place: tuple[str, int] = place) -> bytes:
            return ssl.get_server_certificate(place, ca_certs=str(authority.ca)).encode()

        assert shown() == first
        second = authority.issue("server")[0].read_bytes()
        assert shown() == second != first
        authority.issue("server", has_ended=True)
        assert shown() == second
        cert.write_bytes(b"half a certif")
        assert shown() == second
        cert.unlink()
        assert shown() == second


def test_a_client_shows_its_certificate_where_one_is_wanted(
    tmp_path: Path, authority: Authority
) -> None:
    cert, key = authority.issue("server")
    settings = Settings(
        home=str(tmp_path),
        http_tls_cert=str(cert),
        http_tls_key=str(key),
        http_tls_client_ca=str(authority.ca),
    )
    with_own = ssl.create_default_context(cafile=authority.ca)
    with_own.load_cert_chain(*authority.issue("client"))
    for url in running(settings):
        assert httpx.get(f"{url}/healthz", verify=with_own).status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{url}/healthz", verify=ssl.create_default_context(cafile=authority.ca))


def test_tls_files_that_cannot_be_used_are_named(tmp_path: Path, authority: Authority) -> None:
    cert, key = (str(path) for path in authority.issue("server"))
    assert tls_of(Settings()) is None
    context = tls_of(Settings(http_tls_cert=cert, http_tls_key=key))
    assert context is not None
    made: Any = context.context()
    assert made.minimum_version == ssl.TLSVersion.TLSv1_2
    assert 0 < made.sni_callback.ends_s - time.time() <= 86_400
    _, other = authority.issue("other")
    for settings in (
        Settings(http_tls_cert=cert),
        Settings(http_tls_client_ca=str(authority.ca)),
        Settings(http_tls_cert=cert, http_tls_key=str(other)),
        Settings(http_tls_cert=cert, http_tls_key=str(tmp_path / "none")),
        Settings(http_tls_cert=cert, http_tls_key=key, http_tls_client_ca=str(other)),
    ):
        with pytest.raises(BadSettings, match="SHOPLOOP_HTTP_TLS"):
            tls_of(settings)
    Path(key).chmod(0o644)
    with pytest.raises(BadSettings, match="chmod 600"):
        tls_of(Settings(http_tls_cert=cert, http_tls_key=key))
