"""The shop's rules and each request's filters at work: `core/ports.py`, `ShopRules`.

What goes before what: what the request excludes and filters, what is not sold, blocks and
requirements rule an item out, pinned or not; pins take their places; the rest follows by odds with
boosts, those over a limit of exposure behind, then diversity, then at most so many of a category.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from core.candidates import PINNED, RELATION, Ask, Ground
from core.catalogue import Catalogue, Rows
from core.exposure import Answer
from core.list_arranger import ListArranger, Pool
from core.ranking import Ranked
from core.row_masks import FilterMasks
from core.rules import Rules
from core.rules_in_force import InForce, RulesNow
from core.shop_state import ShopState

RELATED_TAKEN = 60
OF_ONE_ITEM = 20
SESSION_ITEMS = 20


class RuleBook:
    """Rules in force by surface, masks by filters, counters of exposure. One owner, one thread.

    Args:
        rules: what is declared.
        name: names them in every answer; "" for none.
        limits: whether exposure is limited; a shadow, whose lists nobody sees, limits none.
    """

    def __init__(self, rules: Rules | None = None, name: str = "", *, limits: bool = True) -> None:
        self._rules = rules if rules is not None else Rules()
        self._name = name
        self._arranger = ListArranger(self._rules, limits=limits)
        self._filters = FilterMasks()
        self._catalogue: Catalogue | None = None
        self._in_force = RulesNow(self._rules)

    def followed_by(self, rules: Rules, name: str) -> RuleBook:
        """The book of new rules; a limit of exposure that stays the same goes on counting."""
        book = RuleBook(rules, name)
        book._arranger = self._arranger.followed_by(rules)
        book._catalogue, book._filters = self._catalogue, self._filters
        return book

    @property
    def name(self) -> str:
        """Names the rules in force; it is logged with every answer."""
        return self._name

    @property
    def rules(self) -> Rules:
        """What is declared."""
        return self._rules

    def allowed(self, state: ShopState, ask: Ask) -> NDArray[np.bool_] | None:
        """Which catalogue rows may be shown, shape (len(catalogue),); None when all may."""
        ruled = self._now(state, ask).allowed(state.catalogue)
        if ask.filters is None:
            return ruled
        passes = self._filters.mask(state.catalogue, ask.filters)
        return passes if ruled is None else passes & ruled

    def brought(self, ground: Ground) -> Mapping[int, Rows]:
        """Pinned items, and what goes with, or stands in for, the visitor's or the asked item."""
        found: dict[int, Rows] = {}
        pins = list(self._pins(ground))
        if pins:
            found[PINNED] = np.array(pins, np.int64)
        if ground.state.relations.size:
            related = related_rows(ground)
            if len(related):
                found[RELATION] = related
        return found

    def reordered(self, ground: Ground, order: Ranked) -> Ranked:
        """The order as it is to be shown; scores and features stay what they were."""
        ask, now = ground.ask, self._now(ground.state, ground.ask)
        diversity = ask.diversity or now.diversity
        if not order.order or not (now.arranges or diversity > 0):
            return order
        catalogue = ground.state.catalogue
        rows = order.candidates.rows
        odds = order.scores + now.terms(catalogue, rows)
        at = np.array(order.order)
        at = at[np.argsort(-odds[at], kind="stable")]
        pool = Pool(rows, odds, at.tolist(), self._pinned(ground, rows))
        wanted = Answer(ask.k, ask.now_ms)
        found = self._arranger.arranged(now, catalogue, pool, wanted, diversity)
        return replace(
            order,
            order=found.order,
            pinned=found.pinned,
            drawn=(found.place, tuple(found.choices)),
        )

    def served(self, state: ShopState, ask: Ask, item_ids: Sequence[str]) -> None:
        """Counts one answer that was given, for the limits of exposure."""
        now = self._now(state, ask)
        if not now.exposure:
            return
        row_of = state.catalogue.row_of
        rows = np.array([row_of[item] for item in item_ids if item in row_of], np.int64)
        self._arranger.served(now, state.catalogue, rows, Answer(len(item_ids), ask.now_ms))

    def _now(self, state: ShopState, ask: Ask) -> InForce:
        if state.catalogue is not self._catalogue:
            self._catalogue, self._in_force = state.catalogue, RulesNow(self._rules)
            self._arranger.begin_anew()
        return self._in_force.on(ask.surface, ask.now_ms)

    def _pins(self, ground: Ground) -> dict[int, int]:
        """Place, from 0, by row of each pin that may be shown; a stand-in for what is sold out."""
        found: dict[int, int] = {}
        for pin in self._now(ground.state, ground.ask).pins:
            row = _shown_row(ground, pin.item)
            if row is not None and pin.position <= ground.ask.k:
                found.setdefault(row, pin.position - 1)
        return found

    def _pinned(self, ground: Ground, rows: Rows) -> dict[int, int]:
        """Candidate by place, where a pinned row is a candidate."""
        places = self._pins(ground)
        if not places:
            return {}
        return {
            places[row]: candidate for candidate, row in enumerate(rows.tolist()) if row in places
        }


def related_rows(ground: Ground) -> Rows:
    """What the catalogue says goes with what is in the session, and stands in for what is gone.

    For similar items, of the item asked about: stand-ins first, then accessories. At most 60.
    """
    state, visitor = ground.state, ground.visitor
    catalogue, relations = state.catalogue, state.relations
    if ground.ask.item_id:
        item = ground.ask.item_id
        names = [*relations.stand_ins(item), *relations.accessories(item)]
    else:
        session = visitor.session_rows()[-SESSION_ITEMS:]
        gone = visitor.rows[~catalogue.listed[visitor.rows]]
        gone = gone[np.argsort(-visitor.counts[~catalogue.listed[visitor.rows]], kind="stable")]
        names = []
        for row in gone[:SESSION_ITEMS].tolist():
            names += relations.stand_ins(catalogue.item_ids[row])[:OF_ONE_ITEM]
        for row in session.tolist():
            names += relations.accessories(catalogue.item_ids[row])[:OF_ONE_ITEM]
    row_of = catalogue.row_of
    rows = dict.fromkeys(row_of[name] for name in names if name in row_of)
    found = np.fromiter(rows, np.int64, len(rows))
    return found[ground.allowed[found]][:RELATED_TAKEN]


def _shown_row(ground: Ground, item_id: str) -> int | None:
    """The row of an item that may be shown, or of what stands in for it while it is sold out."""
    catalogue = ground.state.catalogue
    row = catalogue.row_of.get(item_id)
    if row is not None and ground.allowed[row]:
        return row
    if row is not None and catalogue.listed[row]:
        return None
    for name in ground.state.relations.stand_ins(item_id):
        other = catalogue.row_of.get(name)
        if other is not None and ground.allowed[other]:
            return other
    return None
