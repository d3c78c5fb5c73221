"""One text, tidied: encodings repaired, HTML stripped, control characters and spare blanks removed.

`tidied` is idempotent: tidying a tidied text changes nothing.
"""

from __future__ import annotations

import re
import unicodedata
from html.parser import HTMLParser

import ftfy

from trainer.corpus.settings import CleanSettings

_MARKUP = re.compile(r"<[a-zA-Z/!?]|&[#a-zA-Z]")
_UNSEEN = ("script", "style")
_APART = frozenset(
    ("br", "p", "div", "li", "ul", "ol", "tr", "td", "th", "table", "h1", "h2", "h3", "h4", "img")
)
_PASSES = 8
# Encodings alone: quotes, width and ligatures are the writer's, and HTML has its own step.
_REPAIR = ftfy.TextFixerConfig(
    unescape_html=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    uncurl_quotes=False,
    normalization=None,
    explain=False,
)


def tidied(text: str, settings: CleanSettings) -> str | None:
    """The text as people would read it, or nothing where it does not come to rest."""
    for _ in range(_PASSES):
        better = _once(text, settings)
        if better == text:
            return text
        text = better
    return None


def _once(text: str, settings: CleanSettings) -> str:
    if settings.encoding and not text.isascii():
        text = ftfy.fix_text(text, _REPAIR)
    if settings.html and _MARKUP.search(text):
        text = _plain(text)
    kept = "".join(one if _readable(one) else " " for one in text)
    return " ".join(unicodedata.normalize("NFC", kept).split())


def _readable(one: str) -> bool:
    # Format characters (Cf) join emoji and shape Arabic; the byte order mark alone does neither.
    return one != "\ufeff" and unicodedata.category(one) not in ("Cc", "Cs", "Cn", "Co")


def _plain(text: str) -> str:
    reader = _Text()
    reader.feed(text)
    reader.close()
    return "".join(reader.found)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._hidden = False

    def handle_starttag(self, tag: str, _attrs: object) -> None:
        """Words on both sides of a block stay apart."""
        self._hidden = tag in _UNSEEN
        if tag in _APART:
            self.found.append(" ")

    def handle_endtag(self, tag: str) -> None:
        """As a start."""
        self._hidden = False
        if tag in _APART:
            self.found.append(" ")

    def handle_data(self, data: str) -> None:
        """Text, but for scripts and styles."""
        if not self._hidden:
            self.found.append(data)
