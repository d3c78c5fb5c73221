"""Whose history an event belongs to: links between a visitor's ids, and the refusal to be known.

A visitor id under a new key takes over the history of its earlier pseudonyms. A login puts the
device's history into the user's, which every device of that user then shares; a device that logs
in as somebody else leaves what is there and goes on with the other user's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from core.shop_state import ShopState
from schemas.events import ShopEvent

# Longer than an id may be, so that no visitor id a browser makes up can name a user's history.
_USER = "user".ljust(129, ":")


class Person(NamedTuple):
    """The ids of one event and whether its shopper lets us remember it."""

    visitor_id: str
    user_id: str | None = None
    former_ids: Sequence[str] = ()
    former_user_ids: Sequence[str] = ()
    personal: bool = True


def person_of(event: ShopEvent) -> Person:
    """Who stands behind an event."""
    former = event.formerly
    return Person(
        event.visitor_id,
        event.user_id,
        former.visitor_ids if former is not None else (),
        former.user_ids if former is not None else (),
        event.consent is None or event.consent.personalisation,
    )


def meet(state: ShopState, person: Person) -> bool:
    """Links the ids; False when the event must not be remembered, with what was so far dropped.

    >>> state = ShopState()
    >>> state.apply("phone", "purchase", ["mug"], 1)
    >>> meet(state, Person("phone", "ann")), meet(state, Person("laptop", "ann"))
    (True, True)
    >>> state.history("laptop")
    ['mug']
    """
    for former in person.former_ids:
        _move(state, former, person.visitor_id)
    if person.user_id is not None:
        for former in person.former_user_ids:
            _move(state, _USER + former, _USER + person.user_id)
        _log_in(state, person.visitor_id, _USER + person.user_id)
    if not person.personal:
        state.drop(person.visitor_id)
    return person.personal


def _log_in(state: ShopState, visitor_id: str, user: str) -> None:
    owner = state.owner(visitor_id)
    if not owner.startswith(_USER):
        _move(state, owner, user)
    elif owner != state.owner(user):
        state.owners[visitor_id] = user


def _move(state: ShopState, old: str, new: str) -> None:
    """The history of `old` becomes part of that of `new`, and `old` another name for it."""
    source, goal = state.owner(old), state.owner(new)
    if source == goal:
        return
    if source == old:
        state.join(source, goal)
        state.owners[source] = goal
    elif goal == new:
        # `old` is a name among others of a shared history: `new` becomes one, too.
        state.join(goal, source)
        state.owners[goal] = source
