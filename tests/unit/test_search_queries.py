"""Odd and hostile queries against a shop of many languages: what they find, and at what price."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from served_search_factory import ask, desk_over, ids

from core.query_text import folded, words
from core.settings import Settings
from schemas.codec import Decoder
from schemas.errors import InvalidEvent
from schemas.items import Item
from schemas.predictions import SearchRequest
from serving.search_items import SearchItems
from serving.searching import SearchDesk

TITLES = {
    "phone": ("iPhone 12", "en"),
    "case": ("iPhone 12 mini case", "en"),
    "old": ("iPhone 13", "en"),
    "player": ("Blu-ray player", "en"),
    "blurry": ("Blurry mountain", "en"),
    "cable": ("USB-C cable, 2 m", "en"),
    "creme": ("Crème brûlée set", "en"),
    "crime": ("An American crime", "en"),
    "fr": ("Tasse dorée à thé", "fr"),
    "de": ("Großer Schlüssel", "de"),
    "el": ("Κόκκινο φλιτζάνι", "el"),
    "ru": ("Красная кружка", "ru"),
    "hi": ("हिन्दी किताब", "hi"),
    "zh": ("红色陶瓷杯子", "zh"),
    "perfume": ("Nº5 perfume", "en"),
    "tv": ('LG 50" TV', "en"),
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> SearchDesk:
    items = SearchItems(Settings(), "serving-1", tmp_path_factory.mktemp("vectors"))
    items.put(
        [
            Item(item_id=f"0{name}", updated_at_ms=1, title=title, language=language)
            for name, (title, language) in TITLES.items()
        ]
    )
    items.index.commit()
    return desk_over(items, None)


@pytest.mark.parametrize(
    ("query", "first", "corrected"),
    [
        ("iPhone 12", "phone", ""),
        ("IPHONE  12", "phone", ""),
        ("İPHONE 12", "phone", ""),
        ("ıphone 13", "old", ""),
        ("ｉＰｈｏｎｅ　１３", "old", ""),
        ("iphone12", "phone", "iphone 12"),
        ("iphone13 x", "old", "iphone 13 x"),
        ("bluray", "player", "blu ray"),
        ("blury mountain", "blurry", "blurry mountain"),
        ("creme brulee", "creme", ""),
        ("CREME BRU\u0302LE\u0301E SET", "creme", ""),
        ("brullée", "creme", "brûlée"),
        ("criem", "crime", "crime"),
        ("theiere tasse doree", "fr", "theiere tasse dorée"),
        ("schlussel", "de", ""),
        ("grosser", "de", ""),
        ("φλιτζανι", "el", ""),
        ("ΚΌΚΚΙΝΟ", "el", ""),
        ("кружки", "ru", ""),
        ("किताब", "hi", ""),
        ("हिन्दी", "hi", ""),
        ("红", "zh", ""),
        ("杯 x", "zh", ""),
        ("陶瓷", "zh", ""),
        ("no5", "perfume", ""),
        ('title:"iphone"^9 AND (13 OR', "old", ""),
        ("+iphone -12", "phone", ""),
        ("<b>blurry</b> &amp; mountain", "blurry", ""),
        ("🎄 usb-c", "cable", ""),
        ('lg 50" tv', "tv", ""),
        ("0TV", "tv", ""),
    ],
)
def test_what_was_meant_comes_first(
    desk: SearchDesk, query: str, first: str, corrected: str
) -> None:
    answer = ask(desk, query)
    assert ids(answer)[:1] == [f"0{first}"]
    assert answer.context.corrected_query == corrected


@pytest.mark.parametrize(
    "query",
    ["", "   ", "!?.", "\u200b\u202e", "the", "c++", "[a TO b]", "\\", "½", "🙂"],
)
def test_a_text_without_words_finds_nothing_and_is_no_error(desk: SearchDesk, query: str) -> None:
    answer = ask(desk, query)
    assert (answer.slots, answer.context.corrected_query) == ([], "")


def test_a_query_has_at_most_a_thousand_characters() -> None:
    request = b'{"kind":"search","request_id":"r","visitor_id":"v","query":"%s"}'
    decode = Decoder(SearchRequest)
    assert len(decode(request % (b"a" * 1_000)).query) == 1_000
    with pytest.raises(InvalidEvent, match="<= 1000"):
        decode(request % (b"a" * 10_000))


@given(st.text(max_size=60))
def test_plain_letters_stay_as_they_are_and_words_have_no_blanks(text: str) -> None:
    once = folded(text)
    assert folded(once) == once
    assert all(word and not any(map(str.isspace, word)) for word in words(text))
