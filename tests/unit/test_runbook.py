"""Whoever is paged can type what the runbook says: commands, saved queries and settings exist."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from console.main import load
from console.saved import parameters, saved_query
from core.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "runbook.md").read_text()
COMMANDS = sorted(set(re.findall(r"`shoploop ([^`]+)`", PAGE)))
LINKS = sorted(set(re.findall(r"\]\(([^)#]+)", PAGE)))


@pytest.mark.parametrize("typed", COMMANDS, ids=range(len(COMMANDS)))
def test_a_command_of_the_runbook_can_be_typed(typed: str) -> None:
    name, *rest = shlex.split(typed)
    parser = argparse.ArgumentParser(exit_on_error=False)
    load(name).add_arguments(parser)
    parsed, unknown = parser.parse_known_args(rest)
    assert not unknown
    if name == "query" and parsed.saved:
        parameters(saved_query(parsed.saved), parsed.param or [])


def test_settings_that_the_runbook_names_exist() -> None:
    known = {PREFIX + name.upper() for name in Settings.__struct_fields__}
    assert set(re.findall(r"SHOPLOOP_[A-Z0-9_]+", PAGE)) <= known


@pytest.mark.parametrize("link", LINKS)
def test_pages_that_the_runbook_links_to_exist(link: str) -> None:
    assert (ROOT / "docs" / link).exists()
