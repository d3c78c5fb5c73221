"""How this process proves itself to Kafka, and the broker to it: options of librdkafka.

Faust's own client never connects (`streams/app.py`), so that these options are all there are.
Passwords come from files, never from the environment, and are in no message.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from adapters.private_file import read_private, read_secret
from core.settings import Settings
from schemas.errors import BadSettings

_PROTOCOL = {
    "plaintext": "PLAINTEXT",
    "tls": "SSL",
    "sasl_plaintext": "SASL_PLAINTEXT",
    "sasl_tls": "SASL_SSL",
}
_FIRST_TURN_S = 0.5
_REFUSALS = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
    }
)

log = logging.getLogger(__name__)


class Refusals:
    """Hears of errors of clients; remembers that the broker, or this process, refused the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: set[int] = set()
        self.refused = False

    def __call__(self, error: KafkaError) -> None:
        """librdkafka's `error_cb`: says a refusal once in the log, without what it quotes."""
        code = error.code()
        if code not in _REFUSALS:
            return
        self.refused = True
        with self._lock:
            fresh = code not in self._said
            self._said.add(code)
        if fresh:
            log.error("Kafka: %s (%s): see SHOPLOOP_KAFKA_SECURITY", error.name(), code)


def client_options(settings: Settings, refusals: Refusals | None = None) -> dict[str, Any]:
    """Where the broker is, and what proves one to the other.

    Raises:
        BadSettings: a setting is missing beside another, or a file cannot be used.
    """
    options: dict[str, Any] = {"bootstrap.servers": settings.kafka}
    if settings.kafka_security == "plaintext":
        return options
    options["security.protocol"] = _PROTOCOL[settings.kafka_security]
    options["error_cb"] = refusals if refusals is not None else Refusals()
    if settings.kafka_security.startswith("sasl"):
        options |= _sasl(settings)
    if settings.kafka_security.endswith("tls"):
        options |= _tls(settings)
    return options


def listed_topics(admin: AdminClient, refusals: Refusals, within_s: float) -> dict[str, Any]:
    """The topics there are, by name; asked in turns, between which a refusal is heard of.

    Raises:
        KafkaException: the broker refused this process, or did not answer in time.
    """
    deadline = time.monotonic() + within_s
    turn_s = _FIRST_TURN_S
    while True:
        try:
            return dict(admin.list_topics(timeout=turn_s).topics)
        except KafkaException:
            admin.poll(0)
            left_s = deadline - time.monotonic()
            if refusals.refused or left_s <= 0:
                raise
            turn_s = min(2 * turn_s, max(left_s, _FIRST_TURN_S))


def refused_text(settings: Settings) -> str:
    """What to say when the broker refused this process, or its certificate was refused."""
    who = f" as {settings.kafka_username!r}" if settings.kafka_username else ""
    return (
        f"Kafka at {settings.kafka}: not admitted{who} with SHOPLOOP_KAFKA_SECURITY="
        f"{settings.kafka_security}: see SHOPLOOP_KAFKA_SASL_MECHANISM, _USERNAME, _PASSWORD_FILE, "
        "_CA, _CERT and _KEY"
    )


def _sasl(settings: Settings) -> dict[str, Any]:
    if not settings.kafka_username or not settings.kafka_password_file:
        raise BadSettings(
            f"SHOPLOOP_KAFKA_SECURITY={settings.kafka_security} wants SHOPLOOP_KAFKA_USERNAME and "
            "SHOPLOOP_KAFKA_PASSWORD_FILE"
        )
    path = Path(settings.kafka_password_file).expanduser()
    return {
        "sasl.mechanism": settings.kafka_sasl_mechanism,
        "sasl.username": settings.kafka_username,
        "sasl.password": read_secret(path, "SHOPLOOP_KAFKA_PASSWORD_FILE"),
    }


def _tls(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if settings.kafka_ca:
        options["ssl.ca.location"] = str(_readable("SHOPLOOP_KAFKA_CA", settings.kafka_ca))
    if not settings.kafka_cert and not settings.kafka_key:
        return options
    if not settings.kafka_cert or not settings.kafka_key:
        raise BadSettings("SHOPLOOP_KAFKA_CERT and SHOPLOOP_KAFKA_KEY are wanted both")
    key = Path(settings.kafka_key).expanduser()
    read_private(key, "SHOPLOOP_KAFKA_KEY")
    options["ssl.certificate.location"] = str(_readable("SHOPLOOP_KAFKA_CERT", settings.kafka_cert))
    options["ssl.key.location"] = str(key)
    return options


def _readable(name: str, text: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_file():
        raise BadSettings(f"{name}={path}: is no file")
    return path
