"""A guess at a text's language by its letters and its commonest words; good for a paragraph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

_SCRIPTS = (
    ("ja", 0x3040, 0x30FF), ("ko", 0xAC00, 0xD7A3), ("zh", 0x4E00, 0x9FFF), ("ru", 0x0400, 0x04FF),
    ("ar", 0x0600, 0x06FF), ("el", 0x0370, 0x03FF), ("he", 0x0590, 0x05FF), ("th", 0x0E00, 0x0E7F),
    ("hi", 0x0900, 0x097F),
)  # fmt: skip
_WORDS = {
    "en": "the of and to in is that for it with was on as are this my not have you",
    "de": "der die und das ist nicht ich zu den mit sich auf für ein eine wir auch von",
    "fr": "le les et des est une que dans pour pas je vous qui sur avec plus ce il",
    "es": "el los y que es una por con para las del no se lo como más pero mi",
    "it": "il di che è per una non sono con del la gli della le ho ma anche mi",
    "pt": "o que e do da em um para não uma com os no se na por mais as",
    "nl": "de het een van en ik niet dat op te zijn voor met aan die ook er maar",
}
_SETS = {language: frozenset(words.split()) for language, words in _WORDS.items()}
_SCRIPT_SHARE = 0.3
_LEAST_WORDS = 3


def guess_language(texts: Iterable[str]) -> str:
    """The two letters of the likeliest language, or nothing where little speaks for any.

    >>> guess_language(["my card is not in the box"]), guess_language(["物流很快"])
    ('en', 'zh')
    >>> guess_language(["12 x 40"])
    ''
    """
    scripts: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for text in texts:
        scripts.update(_script(one) for one in text if one.isalpha())
        words.update(text.casefold().split())
    letters = scripts.total()
    # Japanese has Chinese characters beside its own, so its own count first.
    for language, _, _ in _SCRIPTS:
        if letters and scripts[language] >= _SCRIPT_SHARE * letters:
            return language
    hits = {name: sum(words[word] for word in known) for name, known in _SETS.items()}
    best = max(hits, key=lambda name: hits[name])
    return best if hits[best] >= _LEAST_WORDS else ""


def plainly_not(language: str, text: str) -> bool:
    """Whether a text is plainly in another language than this one.

    >>> plainly_not("en", "das ist nicht die rechnung"), plainly_not("en", "ok")
    (True, False)
    """
    return guess_language([text]) not in ("", language)


def _script(letter: str) -> str:
    code = ord(letter)
    return next((name for name, low, high in _SCRIPTS if low <= code <= high), "latin")
