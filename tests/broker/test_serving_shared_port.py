"""Serving processes of one machine that share a port, over a kill."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

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
            left.kill()
            for _ in range(20):
                assert _ask(right) is not None
        with running(shop.settings, "--name", "left", extra=SHARED, port=port) as again:
            _until_served_by(again, answers, {"left"})


def _ask(replica: Process) -> str | None:
    """The id of a question that was answered, over a connection of its own."""
    try:
        reply = httpx.post(f"{replica.url}/v1/recommend", json={"visitor_id": "first"}, timeout=10)
    except httpx.TransportError:
        return None
    assert reply.status_code == 200, reply.text
    return str(reply.json()["request_id"])


def _until_served_by(replica: Process, answers: Served, wanted: set[str]) -> None:
    found: set[str] = set()
    deadline = time.monotonic() + 60
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
        command, env=environ, cwd=ROOT, timeout=60, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert "is in use" in line
