"""The shop's rules as they are declared: a TOML file, decoded and checked.

It says what a rule may say and names every mistake with its place; what rules do to a list is in
`core/rule_book.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated

import msgspec

from schemas.errors import BadSettings
from schemas.events import Id, Price
from schemas.predictions import Filters, Surface

Zoned = Annotated[datetime, msgspec.Meta(tz=True)]
Factor = Annotated[float, msgspec.Meta(gt=1, le=1_000)]
Names = Annotated[list[str], msgspec.Meta(max_length=10_000)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Whole = Annotated[int, msgspec.Meta(ge=1)]


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and when a rule holds: all surfaces unless named, at all times unless bounded."""

    surfaces: list[Surface] = []
    starts: Zoned | None = msgspec.field(default=None, name="from")
    until: Zoned | None = None

    @property
    def span_ms(self) -> tuple[float, float]:
        """When it holds, UTC epoch milliseconds, the end left out."""
        starts, until = self.starts, self.until
        return (
            float("-inf") if starts is None else starts.timestamp() * 1e3,
            float("inf") if until is None else until.timestamp() * 1e3,
        )

    def holds(self, surface: str, now_ms: int) -> bool:
        """Whether it holds on this surface at this time."""
        first, end = self.span_ms
        return (not self.surfaces or surface in self.surfaces) and first <= now_ms < end


class Selecting(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule about some items: those named or in a named category, within the price band."""

    items: Names = []
    categories: Names = []
    price_from: Price | None = None
    price_to: Price | None = None

    @property
    def selects(self) -> bool:
        """Whether it names any items at all."""
        bands = (self.price_from, self.price_to)
        return bool(self.items or self.categories) or bands != (None, None)


class Block(Selecting, frozen=True, kw_only=True):
    """These items are never listed."""


class Pin(Rule, frozen=True, kw_only=True):
    """This item stands in this place, counted from 1."""

    item: Id
    position: Annotated[int, msgspec.Meta(ge=1, le=100)]


class Boost(Selecting, frozen=True, kw_only=True):
    """The odds of these items are multiplied by the factor."""

    factor: Factor


class Bury(Selecting, frozen=True, kw_only=True):
    """The odds of these items are divided by the factor."""

    factor: Factor


class Require(Rule, frozen=True, kw_only=True):
    """Only these items are listed; the same words as the filters of a request."""

    categories: Names = []
    excluded_categories: Names = []
    price_from: Price | None = None
    price_to: Price | None = None
    in_stock_only: bool = True

    @property
    def filters(self) -> Filters:
        """The same as a request would say it."""
        return Filters(
            categories=self.categories,
            excluded_categories=self.excluded_categories,
            price_from=self.price_from,
            price_to=self.price_to,
            in_stock_only=self.in_stock_only,
        )


class Exposure(Selecting, frozen=True, kw_only=True):
    """At most this share of what one replica shows, or this many an hour, of these items.

    With `each_item` every one of them has the limit for itself, without it they share one. A share
    is of the last `window` answers or so: older ones fade.
    """

    share: Share | None = None
    per_hour: Whole | None = None
    window: Annotated[int, msgspec.Meta(ge=10, le=1_000_000)] = 1_000
    each_item: bool = False


class AtMost(Rule, frozen=True, kw_only=True):
    """At most so many items of one category in a list; `depth` cuts categories to their head."""

    count: Whole
    depth: Whole | None = None


class Diversity(Rule, frozen=True, kw_only=True):
    """The diversity of requests that ask for none."""

    value: Annotated[float, msgspec.Meta(ge=0, le=1)]


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a shop declares; the first of several diversities that hold counts."""

    block: list[Block] = []
    require: list[Require] = []
    pin: list[Pin] = []
    boost: list[Boost] = []
    bury: list[Bury] = []
    exposure: list[Exposure] = []
    at_most: list[AtMost] = []
    diversity: list[Diversity] = []


def parse_rules(text: bytes | str) -> Rules:
    """The declared rules; raises BadSettings that names each mistake with its place.

    >>> parse_rules("[[boost]]\\nfactor = 2\\ncategories = ['Home']").boost[0].factor
    2.0
    >>> parse_rules("[[pin]]\\nitem = 'a'\\nposition = 0")
    Traceback (most recent call last):
    schemas.errors.BadSettings: Expected `int` >= 1 - at `$.pin[0].position`
    """
    try:
        rules = msgspec.toml.decode(text, type=Rules)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadSettings(str(error)) from error
    mistakes = list(_mistakes(rules))
    if mistakes:
        raise BadSettings("; ".join(mistakes))
    return rules


def _mistakes(rules: Rules) -> Iterator[str]:
    for kind in Rules.__struct_fields__:
        for number, rule in enumerate(getattr(rules, kind)):
            for mistake in _mistakes_of(rule):
                yield f"{mistake} - at `$.{kind}[{number}]`"
    yield from _pins_in_one_place(rules.pin)


def _mistakes_of(rule: Rule) -> Iterator[str]:
    first, end = rule.span_ms
    if first >= end:
        yield "`from` must be before `until`"
    if isinstance(rule, Selecting | Require):
        low, high = rule.price_from, rule.price_to
        if low is not None and high is not None and low > high:
            yield f"no price lies from {low} to {high}"
    if isinstance(rule, Exposure):
        if (rule.share is None) == (rule.per_hour is None):
            yield "expected one of `share` and `per_hour`"
        if not rule.selects and not rule.each_item:
            yield "names no items: expected `items`, `categories`, a price or `each_item`"
    elif isinstance(rule, Selecting) and not rule.selects:
        yield "names no items: expected `items`, `categories` or a price"


def _pins_in_one_place(pins: Sequence[Pin]) -> Iterator[str]:
    for later, pin in enumerate(pins):
        for earlier, other in enumerate(pins[:later]):
            if pin.position == other.position and _meet(pin, other):
                yield (
                    f"position {pin.position} is taken by `$.pin[{earlier}]` - at `$.pin[{later}]`"
                )


def _meet(one: Rule, other: Rule) -> bool:
    (first, end), (other_first, other_end) = one.span_ms, other.span_ms
    apart = one.surfaces and other.surfaces and not set(one.surfaces) & set(other.surfaces)
    return not apart and first < other_end and other_first < end
