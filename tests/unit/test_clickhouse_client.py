"""The ClickHouse client says whose fault it is, and never shows a password."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from adapters.clickhouse import connect, dsn_of
from core.settings import Settings
from local.child import free_ports
from schemas.errors import BadSettings, Unavailable


@pytest.mark.parametrize(
    "dsn",
    [
        "",
        "127.0.0.1:18123/shoploop",
        "http://127.0.0.1:18123",
        "http://127.0.0.1:18123/a`b",
        "http://127.0.0.1:x/shoploop",
        "tcp://me:secret@host/shoploop",
    ],
)
def test_a_dsn_that_does_not_parse_is_the_operators_fault(dsn: str) -> None:
    with pytest.raises(BadSettings, match="SHOPLOOP_CLICKHOUSE") as raised:
        connect(dsn)
    assert "secret" not in str(raised.value)


def test_a_server_that_does_not_answer_is_unavailable_within_the_deadline() -> None:
    (port,) = free_ports(1)
    with pytest.raises(Unavailable, match=rf"127.0.0.1:{port} did not answer within 0.3 s"):
        connect(f"http://127.0.0.1:{port}/shoploop", deadline_s=0.3)


def test_user_and_password_are_put_into_the_dsn(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.touch(mode=0o600)
    file.write_text("p@ss/w:rd\n")
    named = {"clickhouse_user": "shop", "clickhouse_password_file": str(file)}
    for dsn, user in (("https://ch/shop", "shop"), ("https://old:one@ch/shop", "shop")):
        parts = urlsplit(dsn_of(Settings(clickhouse=dsn, **named)))
        assert (parts.username, unquote(parts.password or "")) == (user, "p@ss/w:rd")
        assert parts.hostname == "ch"
    only = Settings(clickhouse="http://old:one@ch/shop", clickhouse_password_file=str(file))
    assert urlsplit(dsn_of(only)).username == "old"
    assert dsn_of(Settings(clickhouse="http://a:b@ch/shop")) == "http://a:b@ch/shop"
    file.chmod(0o644)
    with pytest.raises(BadSettings, match="chmod 600"):
        dsn_of(only)


def test_no_password_is_in_what_settings_print() -> None:
    settings = Settings(
        clickhouse="https://shop:hidden-1@ch:8443/shop",
        alert_webhook="https://hooks.example/x?token=hidden-2",
        alert_webhook_secret="hidden-3",
        alert_smtp="smtps://me:hidden-4@mail:465",
        alert_smtp_password="hidden-5",
        kafka="broker:9092",
    )
    assert "hidden" not in f"{settings!r} {settings} {[settings]}"
    assert "kafka='broker:9092'" in repr(settings)
