"""The page on settings names every setting there is, and no other."""

import re
from pathlib import Path

from core.settings import PREFIX, Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_names_every_setting_and_no_other() -> None:
    named = set(re.findall(r"^\| `(SHOPLOOP_[A-Z0-9_]+)`", PAGE.read_text(), re.MULTILINE))
    assert named == {PREFIX + name.upper() for name in Settings.__struct_fields__}
