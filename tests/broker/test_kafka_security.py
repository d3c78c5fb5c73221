"""A broker that wants TLS and a password lets the product in with them, and clearly not without."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from certificates import Authority

from adapters.kafka import Follower, ensure_topics, producer, topic_name
from adapters.kafka_topics import TopicIds
from console.lag import group_lags
from core.settings import Settings
from local.child import free_ports
from local.kafka import EmbeddedKafka
from schemas import topics
from schemas.errors import BadSettings

USER, PASSWORD, WRONG = "shop", "correct-horse-9d1", "wrong-battery-7c2"
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
        "listener.name.safe.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.safe.plain.sasl.jaas.config": f'{PLAIN} required user_{USER}="{PASSWORD}";',
        "listener.name.safe.ssl.keystore.type": "PEM",
        "listener.name.safe.ssl.keystore.location": str(folder / "store.pem"),
        "connection.failed.authentication.delay.ms": "0",
    }
    with EmbeddedKafka(folder / "data", port, controller, extra=extra):
        yield Settings(
            kafka=f"127.0.0.1:{safe}",
            kafka_security="sasl_tls",
            kafka_sasl_mechanism="PLAIN",
            kafka_username=USER,
            kafka_password_file=str(secret),
            kafka_ca=str(authority.ca),
        )


def test_every_kind_of_client_gets_in(guarded: Settings) -> None:
    ensure_topics(guarded, (topics.MODELS,))
    client = producer(guarded)
    client.produce(topic_name(guarded, topics.MODELS), b"{}", b"recommend")
    assert client.flush(30) == 0
    reader = Follower(guarded, (topics.MODELS,))
    assert [message.value() for _, message in reader.catch_up(30)] == [b"{}"]
    reader.close()
    assert TopicIds(guarded)([topic_name(guarded, topics.MODELS)])
    assert all(lag.records is None for lag in group_lags(guarded))


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
