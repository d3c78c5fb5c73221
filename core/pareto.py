"""Which of several smaller versions to serve: the fastest that surely loses little.

Numbers in, a choice out; it knows neither how a version was made smaller nor what it is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Measured(NamedTuple):
    """One version as measured; `loss` is how much quality it lost, with its interval."""

    name: str
    size_bytes: int
    latency_ms: float
    loss: float
    low: float
    high: float


def dominated(versions: Sequence[Measured]) -> dict[str, str]:
    """Versions that another beats or equals in size, latency and loss, with that other's name.

    >>> whole = Measured("fp32", 90, 5.0, 0.0, 0.0, 0.0)
    >>> small = Measured("int8", 23, 3.0, 0.001, -0.001, 0.003)
    >>> sparse = Measured("sparse", 90, 5.0, 0.02, 0.01, 0.03)
    >>> dominated([whole, small, sparse])
    {'sparse': 'fp32'}
    """
    found = {}
    for one in versions:
        better = [other for other in versions if other is not one and _beats(other, one)]
        if better:
            found[one.name] = min(better, key=lambda other: (other.loss, other.latency_ms)).name
    return found


def choose(versions: Sequence[Measured], largest_loss: float) -> tuple[str, dict[str, str]]:
    """The fastest version whose loss is within the limit at the upper bound, and why others fell.

    The first version is the whole one: it loses nothing and is chosen when no other qualifies.

    >>> whole = Measured("fp32", 90, 5.0, 0.0, 0.0, 0.0)
    >>> small = Measured("int8", 23, 3.0, 0.001, -0.001, 0.003)
    >>> tiny = Measured("student", 30, 2.0, 0.02, 0.01, 0.03)
    >>> choose([whole, small, tiny], largest_loss=0.01)
    ('int8', {'student': 'may lose 0.0300, at most 0.0100'})
    """
    refused = {
        one.name: f"may lose {one.high:.4f}, at most {largest_loss:.4f}"
        for one in versions[1:]
        if not one.high <= largest_loss
    }
    allowed = [one for one in versions if one.name not in refused]
    return min(allowed, key=lambda one: (one.latency_ms, one.size_bytes)).name, refused


def _beats(other: Measured, one: Measured) -> bool:
    pairs = (
        (other.size_bytes, one.size_bytes),
        (other.latency_ms, one.latency_ms),
        (other.loss, one.loss),
    )
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
