"""The surfaces whose names mean something, and what an answer on each is judged on.

Knows nothing of how lists are made; any other name lists from the whole catalogue, as `home`.
"""

from __future__ import annotations

from collections.abc import Collection

HOME, DISCOVER, BUY_AGAIN, SIMILAR = "home", "discover", "buy_again", "similar"


def wanted(surface: str, basket: Collection[str], new_basket: Collection[str]) -> Collection[str]:
    """The items of a basket that count: new ones on `discover`, on `buy_again` the others.

    `new_basket` are its items that the visitor had not bought before the answer. An answer with
    nothing that counts is not judged.

    >>> [wanted(name, ["a", "b"], ["b"]) for name in (HOME, DISCOVER, BUY_AGAIN)]
    [['a', 'b'], ['b'], ['a']]
    """
    if surface == DISCOVER:
        return new_basket
    if surface == BUY_AGAIN:
        return [item for item in basket if item not in new_basket]
    return basket
