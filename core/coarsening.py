"""Addresses and browsers made coarse: enough to tell networks and browser families apart.

What is coarse already stays as it is, so that intake may see an event twice.
"""

import ipaddress
import re

V4_BITS, V6_BITS = 24, 48
_FAMILIES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("Bot", re.compile(r"(?i)(?:bot|crawl|spider|slurp)\b")),
    ("Edge", re.compile(r"Edg(?:e|A|iOS)?/(\d+)")),
    ("Opera", re.compile(r"(?:OPR|Opera)/(\d+)")),
    ("Samsung", re.compile(r"Samsung(?:Browser)?/(\d+)")),
    ("Firefox", re.compile(r"(?:Firefox|FxiOS)/(\d+)")),
    ("Chrome", re.compile(r"(?:HeadlessChrome|Chrome|CriOS)/(\d+)")),
    ("Safari", re.compile(r"Version/(\d+)[\d.]* (?:Mobile/\S+ )?Safari/")),
)
_COARSE = re.compile(r"[A-Z][a-z]{1,15}(?:/\d{1,4})?")
_PRODUCT = re.compile(r"([A-Za-z]{2,16})/(\d{1,4})\b")


def network_of(address: str) -> str | None:
    """The address with the host's bits cleared: IPv4 to /24, IPv6 to /48; None when it is none.

    >>> network_of("203.0.113.77"), network_of("2001:db8:1:2::3"), network_of("unknown")
    ('203.0.113.0', '2001:db8:1::', None)
    """
    try:
        parsed = ipaddress.ip_address(address.strip())
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    bits = V4_BITS if parsed.version == 4 else V6_BITS
    dropped = parsed.max_prefixlen - bits
    return str(type(parsed)(int(parsed) >> dropped << dropped))


def browser_of(user_agent: str) -> str:
    """The browser's family and major version; `Other` for what names neither.

    Source: the order of tests follows MDN, "Browser detection using the user agent": every browser
    names those that it descends from.

    >>> browser_of("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0")
    'Firefox/145'
    >>> browser_of("Firefox/145"), browser_of("curl/8.5.0"), browser_of("")
    ('Firefox/145', 'Curl/8', 'Other')
    """
    if _COARSE.fullmatch(user_agent):
        return user_agent
    for family, pattern in _FAMILIES:
        found = pattern.search(user_agent)
        if found is not None:
            return f"{family}/{found[1][:4]}" if pattern.groups else family
    product = _PRODUCT.match(user_agent)
    if product is None or product[1] == "Mozilla":
        return "Other"
    return f"{product[1].capitalize()}/{product[2]}"
