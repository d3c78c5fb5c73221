"""The ClickHouse client says whose fault it is, and never shows a password."""

from __future__ import annotations

import pytest

from adapters.clickhouse import connect
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
