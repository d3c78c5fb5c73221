"""What shoppers type, oddly spelled, in a small shop: what comes first, and what is changed."""

from __future__ import annotations

import pytest
from served_search_factory import ask, desk_over, ids

from core.query_text import plain_text
from core.settings import Settings
from core.word_pieces import pieces
from schemas.items import Item
from serving.search_items import SearchItems
from serving.search_query import wording
from serving.searching import SearchDesk

TITLES = {
    "headphones": "Wireless headphones, black",
    "head-phones": "Head phones for children",
    "stand": "Stand for phones, with a head joint",
    "tshirt": "Cotton tshirt, white",
    "t-shirt": "T-Shirt with stripes",
    "shirt": "Linen shirt",
    "bookcase": "Oak bookcase",
    "wifi": "Wi-Fi router AX 3000",
    "coke": "Coca-Cola 330 ml can",
    "levis": "Levi's 501 jeans",
    "hm": "H&M scarf",
    "xray": "X-ray viewer",
    "cpp": "C++ for beginners",
    "csharp": "C# in depth",
    "clang": "The C programming language",
    "vitamin-c": "Vitamin C 1000 tablets",
    "vitamin-d": "Vitamin D 1000 tablets",
    "jack": "Audio cable 3.5 mm jack",
    "jack-thick": "Audio cable 6.3mm jack",
    "jack-thin": "Audio cable 5 mm jack",
    "socket": '1/4" socket wrench',
    "socket-half": '1/2" socket wrench',
    "usb-c": "USB-C charger 65W",
    "usb-a": "USB-A charger 12W",
    "serum": "Serum with 50% aloe",
    "serum-30": "Serum with 30% aloe",
    "frame": 'Photo frame 8 x 10"',
    "frame-small": 'Photo frame 5x7"',
    "power": "Power bank 10,000 mAh",
    "phone-5": "Apple iPhone 5 case",
    "phone-6": "Apple iPhone 6 case",
    "sony": "Sony WH-1000XM4",
    "mazda": "Mazda MX-5 model car",
    "mx500": "Paper shredder MX 500",
    "battery": "Battery AA 1.5 V, pack of 4",
    "rug": "Red wool carpet",
    "pet-seat": "Car pet seat",
    "black": "Black desk lamp",
    "light": "Ceiling light",
    "unicorn": "Pink unicorn lamp",
    "hound": "Hound leash",
    "tassel": "Tassel earrings",
    "chase": "Paper chase game",
    "stool": "Bar stool",
    "mug": "Mug with handle",
    "umbrella": "Umbrella, windproof",
    "calendar": "Wall calendar",
    "chess": "Chess board",
    "clay": "Modelling clay",
    "arabic": "\u0643\u062a\u0627\u0628 \u0623\u062d\u0645\u0631",
    "hebrew": "\u05db\u05d5\u05e1 \u05d0\u05d3\u05d5\u05de\u05d4",
    "japanese": "\u9ed2\u3044\u30b3\u30fc\u30d2\u30fc\u30ab\u30c3\u30d7",
    "chinese": "\u4e0d\u9508\u94a2\u4fdd\u6e29\u676f",
    "korean": "\uc720\ub9ac\ucef5",
}
LANGUAGES = {"arabic": "ar", "hebrew": "he", "japanese": "ja", "chinese": "zh", "korean": "ko"}
ONE_THING = ("headphones", "head-phones"), ("tshirt", "t-shirt")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> SearchDesk:
    items = SearchItems(Settings(), "serving-1", tmp_path_factory.mktemp("vectors"))
    items.put(
        [
            Item(item_id=f"sku.{name}", updated_at_ms=1, title=title,
                 language=LANGUAGES.get(name, "en"))
            for name, title in TITLES.items()
        ]
    )  # fmt: skip
    items.index.commit()
    return desk_over(items, None)


def found(desk: SearchDesk, query: str) -> list[str]:
    return [name.removeprefix("sku.") for name in ids(ask(desk, query))]


@pytest.mark.parametrize(
    ("queries", "both"),
    [
        (("headphones", "head phones", "head-phones", "HeadPhones", "head  phone"), ONE_THING[0]),
        (("tshirt", "t shirt", "t-shirt", "T\u2011SHIRTS", "t shirts"), ONE_THING[1]),
    ],
)
def test_a_word_and_its_parts_find_both_spellings(
    desk: SearchDesk, queries: tuple[str, ...], both: tuple[str, ...]
) -> None:
    for query in queries:
        assert set(found(desk, query)[:2]) == set(both), query


@pytest.mark.parametrize(
    ("query", "first"),
    [
        # divided and joined
        ("book case", "bookcase"),
        ("wifi router", "wifi"),
        ("wi fi", "wifi"),
        ("ax3000", "wifi"),
        ("cocacola", "coke"),
        ("coca cola 330ml", "coke"),
        ("levis", "levis"),
        ("levi\u2019s 501", "levis"),
        ("h&m", "hm"),
        ("h & m", "hm"),
        ("xray", "xray"),
        ("x ray", "xray"),
        ("carpet", "rug"),
        ("car pet", "pet-seat"),
        ("paperchase", "chase"),
        # signs
        ("c++", "cpp"),
        ("C#", "csharp"),
        ("c# book", "csharp"),
        ("c", "clang"),
        ("vitamin c", "vitamin-c"),
        ("vitamin d", "vitamin-d"),
        ("3.5mm", "jack"),
        ("3,5 mm jack", "jack"),
        ("3.5 mm audio", "jack"),
        ("6.3 mm jack", "jack-thick"),
        ("5mm jack", "jack-thin"),
        ('1/4"', "socket"),
        ("1/4 socket", "socket"),
        ("\u00bc socket", "socket"),
        ("1/2 inch socket", "socket-half"),
        ("usb-c", "usb-c"),
        ("usb c", "usb-c"),
        ("usbc charger", "usb-c"),
        ("usb-a", "usb-a"),
        ("50%", "serum"),
        ("serum 30 %", "serum-30"),
        ("8x10 frame", "frame"),
        ('8" x 10" frame', "frame"),
        ("frame 8\u00d710", "frame"),
        ("5 x 7 frame", "frame-small"),
        ("10000mah", "power"),
        ("10,000 mAh", "power"),
        # numbers and model codes
        ("iphone 5", "phone-5"),
        ("iphone 6 case", "phone-6"),
        ("iphone6", "phone-6"),
        ("wh1000xm4", "sony"),
        ("WH-1000 XM4", "sony"),
        ("mx5", "mazda"),
        ("mx-500", "mx500"),
        ("1.5v battery", "battery"),
        # scripts from right to left, and such without blanks
        ("\u0643\u062a\u0627\u0628", "arabic"),
        ("\u200f\u05db\u05d5\u05e1 \u05d0\u05d3\u05d5\u05de\u05d4\u200f", "hebrew"),
        ("\u30b3\u30fc\u30d2\u30fc", "japanese"),
        ("\u4fdd\u6e29\u676f", "chinese"),
        ("\u4fdd\u6e29\u676f 65W", "chinese"),
        ("\u4e0d\u676f", "chinese"),
        ("\uc720\ub9ac", "korean"),
        ("\U0001f3a7 headphones", "headphones"),
    ],
)
def test_one_thing_is_found_however_it_is_spelled(desk: SearchDesk, query: str, first: str) -> None:
    assert found(desk, query)[:1] == [first]


@pytest.mark.parametrize(
    ("query", "corrected", "first"),
    [
        ("blakc lamp", "black lamp", "black"),
        ("blak lamp", "black lamp", "black"),
        ("ligt ceiling", "light ceiling", "light"),
        ("celing light", "ceiling light", "light"),
        ("umbrela", "umbrella", "umbrella"),
        ("unbrella", "umbrella", "umbrella"),
        ("calender", "calendar", "calendar"),
        ("headfones", "headphones", "headphones"),
        ("purple headphoens", "purple headphones", "headphones"),
        ("pnik unicorn", "pink unicorn", "unicorn"),
        ("pimk unicorm", "pink unicorn", "unicorn"),
        ("chesss board", "chess board", "chess"),
    ],
)
def test_a_likely_mistake_is_corrected(
    desk: SearchDesk, query: str, corrected: str, first: str
) -> None:
    assert found(desk, query)[:1] == [first]
    assert ask(desk, query).context.corrected_query == corrected


@pytest.mark.parametrize(
    "query",
    [
        "hund", "tasse", "stuhl", "chaise rouge", "tasse rouge", "muis", "lampe rouge", "mur",
        "pug", "501x", "mx600", "WH-1000XM5", "1000xm5", "ax3100", "usb-b", "iphone 7", "65v",
        "klau", "licht", "ligt", "head", "shirt", "clay", "phones",
    ],
)  # fmt: skip
def test_other_languages_codes_and_known_words_are_left_as_they_are(
    desk: SearchDesk, query: str
) -> None:
    assert ask(desk, query).context.corrected_query == ""


def test_a_word_of_which_a_part_is_no_word_is_no_whole_match_of_the_other(desk: SearchDesk) -> None:
    items = desk._items
    asked = wording(items.book, items.index, "tshirt")
    assert [len(other) for other in asked.others] == [2]
    assert asked.others[0][0] == asked.terms[0]
    (both,) = wording(items.book, items.index, "headphones").others
    assert list(both) == list(wording(items.book, items.index, "head phones").terms)


def test_reads_long_numbers_once() -> None:
    """Where each digit was begun at anew this took minutes, with the items' lock held."""
    digits, numbers = "1" * 40_000, "1," * 20_000 + "1"
    assert pieces(digits) == [digits]
    assert pieces(numbers) == [numbers.replace(",", ".")]


def test_reads_markup_that_never_ends_once() -> None:
    """Each opening looked for its end through all the rest: a title of these held a replica up."""
    opened = "<script>" * 40_000
    assert plain_text(f"<style>a</style>b{opened}c") == "b c"
    assert plain_text(f"{opened}a</script>b<script>c") == "b c"
    assert plain_text("<script>" + "</scrip" * 40_000) == " ".join(["</scrip" * 40_000])
