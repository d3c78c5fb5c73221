"""A broker that wants TLS and a password lets the product in with them, and clearly not without.

Beside it a serving process that is closed in every way there is, and what its logs hold of it.
"""

from __future__ import annotations

import logging
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from certificates import Authority
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from serving_factory import Shop

from adapters.kafka import Follower, ensure_topics, producer, topic_name
from adapters.kafka_topics import TopicIds
from console.lag import group_lags
from console.main import main
from core.settings import Settings
from local.child import free_ports
from local.kafka import EmbeddedKafka
from schemas import topics
from schemas.errors import BadSettings

USER, PASSWORD, WRONG = "shop", "correct-horse-9d1", "wrong-battery-7c2"
CLICKHOUSE_PASSWORD, MAIL_PASSWORD = "staple-5e8-clickhouse", "staple-5e8-mail"
CONNECTING = (
    *("kafka", "kafka_security", "kafka_username", "kafka_password_file"),
    *("kafka_ca", "topic_prefix", "home"),
)
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A broker with a listener for SASL over TLS beside its own, and what leads there."""
    folder = tmp_path_factory.mktemp("guarded")
    authority = Authority(folder)
    cert, key = authority.issue("broker")
    (folder / "store.pem").write_bytes(key.read_bytes() + cert.read_bytes())
    secret = folder / "password"
    secret.touch(mode=0o600)
    secret.write_text(PASSWORD + "\n")
    port, controller, safe = free_ports(3)
    listeners = (
        f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},SAFE://127.0.0.1:{safe}"
    )
    extra = {
        "listeners": listeners,
        "advertised.listeners": listeners,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SAFE:SASL_SSL",
        "listener.name.safe.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        "listener.name.safe.scram-sha-512.sasl.jaas.config": f"{SCRAM} required;",
        "listener.name.safe.plain.sasl.jaas.config": f'{PLAIN} required user_{USER}="{PASSWORD}";',
        "listener.name.safe.ssl.keystore.type": "PEM",
        "listener.name.safe.ssl.keystore.location": str(folder / "store.pem"),
        "connection.failed.authentication.delay.ms": "0",
    }
    with EmbeddedKafka(folder / "data", port, controller, extra=extra) as broker:
        _enroll(broker.address)
        yield Settings(
            kafka=f"127.0.0.1:{safe}",
            kafka_security="sasl_tls",
            kafka_username=USER,
            kafka_password_file=str(secret),
            kafka_ca=str(authority.ca),
            topic_prefix="guarded.",
            home=str(folder / "home"),
        )


def _enroll(address: str) -> None:
    """Tells the broker the user's password for SCRAM, past the guarded listener."""
    admin: Any = AdminClient({"bootstrap.servers": address})
    scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4_096)
    change = UserScramCredentialUpsertion(USER, scram, PASSWORD.encode())
    admin.alter_user_scram_credentials([change])[USER].result(60)


def test_every_kind_of_client_gets_in(guarded: Settings) -> None:
    ensure_topics(guarded, (topics.MODELS,))
    client = producer(guarded)
    client.produce(topic_name(guarded, topics.MODELS), b"{}", b"recommend")
    assert client.flush(60) == 0
    reader = Follower(guarded, (topics.MODELS,))
    assert [message.value() for _, message in reader.catch_up(60)] == [b"{}"]
    reader.close()
    assert TopicIds(guarded)([topic_name(guarded, topics.MODELS)])
    assert all(lag.records is None for lag in group_lags(guarded))
    plain = msgspec.structs.replace(guarded, kafka_sasl_mechanism="PLAIN")
    ensure_topics(plain, (topics.MODELS,))


def test_a_wrong_password_and_a_strange_authority_are_said_in_one_line(
    guarded: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = tmp_path / "password"
    secret.touch(mode=0o600)
    secret.write_text(WRONG)
    wrong = msgspec.structs.replace(guarded, kafka_password_file=str(secret))
    strange = msgspec.structs.replace(guarded, kafka_ca=str(Authority(tmp_path).ca))
    for settings in (wrong, strange):
        with caplog.at_level(logging.DEBUG), pytest.raises(BadSettings) as caught:
            ensure_topics(settings, (topics.MODELS,))
        said = str(caught.value) + caplog.text + repr(settings)
        assert "SHOPLOOP_KAFKA_SECURITY=sasl_tls" in str(caught.value)
        assert PASSWORD not in said
        assert WRONG not in said


class Closed:
    """A serving process off loopback with TLS, keys and an issuer; asked over HTTPS."""

    def __init__(self, guarded: Settings, folder: Path) -> None:
        (self.port,) = free_ports(1)
        authority = Authority(folder)
        cert, key = authority.issue("serving")
        secret = folder / "clickhouse"
        secret.touch(mode=0o600)
        secret.write_text(CLICKHOUSE_PASSWORD)
        changed = {name: getattr(guarded, name) for name in CONNECTING} | {
            "http_host": "0.0.0.0",
            "http_tls_cert": cert,
            "http_tls_key": key,
            "clickhouse": "http://127.0.0.1:1/shoploop",
            "clickhouse_user": "shop",
            "clickhouse_password_file": secret,
            "jwt_issuer": "http://127.0.0.1:1",
            "jwt_audience": "shoploop",
            "alert_smtp_password": MAIL_PASSWORD,
            "log_level": "DEBUG",
        }
        self.environ = {name: text for name, text in os.environ.items() if name[:9] != "SHOPLOOP_"}
        self.environ |= {f"SHOPLOOP_{name.upper()}": str(value) for name, value in changed.items()}
        self.log = folder / "log"
        trusting = ssl.create_default_context(cafile=authority.ca)
        self.client = httpx.Client(base_url=f"https://127.0.0.1:{self.port}", verify=trusting)

    def start(self, **changed: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as sink:
            return subprocess.Popen(
                [sys.executable, "-m", "serving", "--port", str(self.port)],
                env=self.environ | changed,
                stdout=sink,
                stderr=sink,
                cwd=Path(__file__).parents[2],
            )

    def status(self, path: str, key: str = "", body: Any = None) -> int:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        if body is None:
            return self.client.get(path, headers=headers).status_code
        return self.client.post(path, headers=headers, json=body).status_code

    def until(self, wanted: int, *asked: Any) -> None:
        """Waits until a call is answered so."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if self.status(*asked) == wanted:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())


@pytest.fixture
def closed(guarded: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Closed]:
    made = Closed(guarded, tmp_path)
    for name in CONNECTING:
        monkeypatch.setenv(f"SHOPLOOP_{name.upper()}", str(getattr(guarded, name)))
    yield made
    made.client.close()


def test_a_closed_process_is_open_to_its_keys_alone_and_logs_no_secret(
    guarded: Settings, closed: Closed, capsys: pytest.CaptureFixture[str]
) -> None:
    Shop(guarded).stock()

    def made(name: str, *arguments: str) -> str:
        assert main(["keys", "create", name, "--scopes", *arguments]) == 0
        return capsys.readouterr().out.strip()

    asking, watching = made("shop", "recommend,explain", "--surfaces", "home"), made("watch", "*")
    slow = made("slow", "recommend", "--rate", "0.01", "--burst", "1")
    token, strange = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.", asking[:-1] + "!"
    question = {"visitor_id": "v-17850", "surface": "home", "k": 2}
    child = closed.start()
    try:
        closed.until(200, "/healthz")
        statuses = [
            closed.status("/v1/recommend", "", question),
            closed.status("/v1/recommend", asking, question),
            closed.status("/v1/recommend", strange, question),
            closed.status("/v1/search", asking, question | {"query": "stand"}),
            closed.status("/v1/recommend", asking, question | {"surface": "discover"}),
            closed.status("/v1/recommend", slow, question),
            closed.status("/v1/recommend", slow, question),
            closed.status("/metrics"),
            closed.status("/metrics", watching),
            closed.status("/openapi.json"),
            closed.status("/openapi.json", slow),
        ]
        assert statuses == [401, 200, 401, 403, 403, 200, 429, 401, 200, 401, 429]
        elsewhere = closed.client.post(
            "/v1/recommend",
            headers={"X-API-Key": watching},
            json=question | {"surface": "discover"},
        ).json()["prediction_id"]
        assert closed.status(f"/v1/explain/{elsewhere}", asking) == 403
        assert closed.status(f"/v1/explain/{elsewhere}", watching) == 200
        assert closed.status("/v1/events", token, []) in (401, 503)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{closed.port}/healthz")
        assert main(["keys", "revoke", "shop"]) == 0
        closed.until(401, "/v1/recommend", asking, question)
    finally:
        child.terminate()
        child.wait(60)
    secrets = [PASSWORD, CLICKHOUSE_PASSWORD, MAIL_PASSWORD, token, strange]
    secrets += [key.rpartition("_")[2] for key in (asking, watching, slow)]
    written = [closed.log, *(each for each in Path(guarded.home).rglob("*") if each.is_file())]
    for path in written:
        data = path.read_bytes()
        assert [each for each in secrets if each.encode() in data] == [], path
    assert b"v-17850" not in closed.log.read_bytes()


def test_off_loopback_without_keys_it_says_what_to_do(closed: Closed, tmp_path: Path) -> None:
    child = closed.start(SHOPLOOP_HOME=str(tmp_path / "empty"), SHOPLOOP_JWT_ISSUER="")
    assert child.wait(60) == 2
    assert "shoploop keys create" in closed.log.read_text()
