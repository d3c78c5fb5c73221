"""Free text, addresses and browsers lose what identifies a person and nothing else."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.coarsening import browser_of, network_of
from core.scrub import passes_luhn, scrubbed

CHROME = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("white hanging heart t-light holder", "white hanging heart t-light holder"),
        ("ann.smith+shop@mail.example.co.uk gift", "<email> gift"),
        ("lamp @ home", "lamp @ home"),
        ("5555-5555-5555-4444", "<card>"),
        ("3782 822463 10005", "<card>"),
        ("4111111111111112", "4111111111111112"),
        ("ean 4006381333931", "ean 4006381333931"),
        ("isbn 978-0-306-40615-7", "isbn 978-0-306-40615-7"),
        ("+44 20 7946 0958 or +1 212 555 0123", "<phone> or <phone>"),
        ("sku 1234567", "sku 1234567"),
        ("2011 calendar 2012 diary", "2011 calendar 2012 diary"),
    ],
)
def test_only_what_identifies_gives_way(text: str, expected: str) -> None:
    assert scrubbed(text) == expected


def test_national_numbers_are_known_with_their_region() -> None:
    assert scrubbed("ring 020 7946 0958") == "ring 020 7946 0958"
    assert scrubbed("ring 020 7946 0958", "GB") == "ring <phone>"


@given(st.text(alphabet="ab@.+- 0123456789", max_size=80), st.sampled_from(["", "GB", "US"]))
def test_scrubbing_twice_is_scrubbing_once(text: str, region: str) -> None:
    once = scrubbed(text, region)
    assert scrubbed(once, region) == once


@given(st.integers(0, 10**14 - 1).map(lambda n: f"4{n:014d}"))
def test_every_valid_card_is_found(stem: str) -> None:
    (check,) = (d for d in "0123456789" if passes_luhn(stem + d))
    assert scrubbed(f"pay {stem + check} now", "") == "pay <card> now"


@pytest.mark.parametrize("text", ["1 " * 500, "a@" * 500, "." * 990 + "@", "-1" * 500])
def test_hostile_text_costs_little(text: str) -> None:
    scrubbed(text)
    began = time.process_time()
    scrubbed(text, "GB")
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.130", "192.0.2.0"),
        ("192.0.2.0", "192.0.2.0"),
        ("2001:db8:aaaa:bbbb::1", "2001:db8:aaaa::"),
        ("::ffff:192.0.2.130", "192.0.2.0"),
        ("fe80::1%eth0", "fe80::"),
        ("localhost", None),
        ("", None),
    ],
)
def test_an_address_becomes_its_network(address: str, expected: str | None) -> None:
    assert network_of(address) == expected


@given(st.ip_addresses())
def test_a_network_stays_a_network(address: object) -> None:
    once = network_of(str(address))
    assert once is not None
    assert network_of(once) == once


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        (CHROME + " Safari/537.36", "Chrome/142"),
        (CHROME + " Safari/537.36 Edg/142.0.1", "Edge/142"),
        (CHROME + " Safari/537.36 OPR/118.0", "Opera/118"),
        (IPHONE + " (KHTML, like Gecko) Version/19.1 Mobile/15E148 Safari/604.1", "Safari/19"),
        (IPHONE + " (KHTML, like Gecko) CriOS/142.0 Mobile/15E148 Safari/604.1", "Chrome/142"),
        ("Mozilla/5.0 (compatible; Examplebot/2.1; +http://example.com)", "Bot"),
        ("okhttp/4.12.0", "Okhttp/4"),
        ("Mozilla/5.0", "Other"),
        ("我", "Other"),
    ],
)
def test_a_browser_becomes_its_family(agent: str, expected: str) -> None:
    assert browser_of(agent) == expected


@given(st.text(max_size=200))
def test_a_family_stays_a_family(agent: str) -> None:
    once = browser_of(agent)
    assert browser_of(once) == once
    assert len(once) <= 24
