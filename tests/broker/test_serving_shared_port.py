"""Serving processes of one machine that share a port, over a kill."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from serving_factory import Process, Served, Shop, answers_of, running

from bench.streams_ground import ROOT
from core.settings import Settings
from local.child import free_ports

SHARED = {"SHOPLOOP_HTTP_SHARED": "true"}


def test_processes_share_a_port_over_a_kill_and_a_name_only_with_themselves(
    kafka_address: str, unique_prefix: str, tmp_path: Path
) -> None:
    shop = Shop(Settings(kafka=kafka_address, topic_prefix=unique_prefix, home=str(tmp_path)))
    shop.stock()
    (port,) = free_ports(1)
    with (
        answers_of(shop.settings) as answers,
        running(shop.settings, "--name", "left", extra=SHARED, port=port) as left,
    ):
        _refused(shop, "left", port)
        with running(shop.settings, "--name", "right", extra=SHARED, port=port) as right:
            _until_served_by(left, answers, {"left", "right"})
            said = _said(right, 24)
            left.kill()
            for _ in range(20):
                assert _ask(right) is not None
            assert _said(right, 4) == said
        with running(shop.settings, "--name", "left", extra=SHARED, port=port) as again:
            assert _said(again, 4) == said
            _until_served_by(again, answers, {"left"})
        (body,) = said
        assert len(answers.served()[httpx.Response(200, text=body).json()["request_id"]]) == 1


def _ask(replica: Process) -> str | None:
    """The id of a question that was answered, over a connection of its own."""
    try:
        reply = httpx.post(f"{replica.url}/v1/recommend", json={"visitor_id": "first"}, timeout=60)
    except httpx.TransportError:
        return None
    assert reply.status_code == 200, reply.text
    return str(reply.json()["request_id"])


def _said(replica: Process, times: int) -> set[str]:
    """The answers to one call made again and again under its key, each on its own connection."""
    asked: dict[str, Any] = {
        "json": {"visitor_id": "first"},
        "headers": {"Idempotency-Key": "k-1"},
        "timeout": 60,
    }
    replies = [httpx.post(f"{replica.url}/v1/recommend", **asked) for _ in range(times)]
    assert {reply.status_code for reply in replies} == {200}
    return {reply.text for reply in replies}


def _until_served_by(replica: Process, answers: Served, wanted: set[str]) -> None:
    found: set[str] = set()
    deadline = time.monotonic() + 120
    while not wanted <= found:
        assert time.monotonic() < deadline, found
        asked = [_ask(replica) for _ in range(8)]
        given = answers.answers([each for each in asked if each is not None])
        found |= {answer.served_by for answer in given.values()}


def _refused(shop: Shop, name: str, port: int) -> None:
    environ = {
        "SHOPLOOP_KAFKA": shop.settings.kafka,
        "SHOPLOOP_TOPIC_PREFIX": shop.settings.topic_prefix,
        "SHOPLOOP_HOME": shop.settings.home,
        **SHARED,
    }
    command = [sys.executable, "-m", "serving", "--name", name, "--port", str(port)]
    done = subprocess.run(
        command, env=environ, cwd=ROOT, timeout=120, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert "is in use" in line
