"""The `shoploop` command: its table, its help and its exit statuses."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from console.main import COMMANDS, available, load, main
from schemas.errors import BadSettings


@pytest.mark.parametrize("name", list(available()))
def test_every_command_answers_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"usage: shoploop {name}" in capsys.readouterr().out


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(name in said for name in available())


def test_the_first_commands_are_there() -> None:
    assert {"up", "down", "status", "query"} <= set(available()) <= set(COMMANDS)


def test_an_unknown_command_is_status_2() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["nonsense"])
    assert ended.value.code == 2


def test_an_unknown_setting_is_status_2_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHOPLOOP_NONSENSE", "1")
    assert main(["query", "SELECT 1"]) == 2
    said = capsys.readouterr().err
    assert "SHOPLOOP_NONSENSE" in said
    assert said.count("\n") == 1


def test_a_server_that_is_down_is_status_1_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHOPLOOP_CLICKHOUSE", "http://127.0.0.1:1/shoploop")
    assert main(["query", "SELECT 1"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("shoploop: ClickHouse at 127.0.0.1:1 does not answer")
    assert said.count("\n") == 1


def test_a_missing_package_is_named() -> None:
    with pytest.raises(BadSettings, match=r"needs console\.nowhere"):
        load("nowhere")


def test_asking_for_help_imports_no_client() -> None:
    code = (
        "import sys; from console.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "bad = {'chdb', 'confluent_kafka', 'clickhouse_connect', 'psutil', 'torch'}\n"
        "sys.exit(', '.join(bad & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stderr
