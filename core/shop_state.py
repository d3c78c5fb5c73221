"""All live features of one shop: catalogue, visitors' histories, popularity and co-occurrence.

It changes only through `apply` and `put_item`, reads no clock and draws nothing at random, so the
same records in the same order give the same state in every process. Refunds change no count: what
was sent back was wanted, and the judged basket keeps it too.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence

import numpy as np
from numpy.typing import NDArray

from core.array_packing import pack, unpack
from core.catalogue import Catalogue, Rows
from core.cooccurrence import Cooccurrence, visitor_weights
from core.popularity import DayPopularity
from core.recent_baskets import RecentBaskets
from core.relations import Relations
from core.sequence import SequenceVocabulary
from core.state_parts import parts_of, put_parts
from core.text_neighbours import TextNeighbours
from core.visitor_history import VisitorHistory
from core.vocabularies import Vocabularies

KIND_WEIGHT = {"purchase": 1.0, "add_to_cart": 0.5, "view_item": 0.1, "select_item": 0.1}
"""How much one interaction counts beside a purchase; a kind not named here counts nothing."""

RELATED_ITEMS = 50
"""Only a visitor's newest items relate to each other: cheaper, and nearer to the next basket."""


Visitors = MutableMapping[str, VisitorHistory]
Owners = MutableMapping[str, str]


class ShopState:
    """Live state; one writer, and readers in the same thread.

    Args:
        max_cooccurrence_items: how many items relate to each other at most.
        visitors: where histories are kept; one that was changed is set again.
        owners: where it is kept that an id is another name for that one.
        history_ms: event time after which an untouched history is no longer known; 0 for never.
    """

    def __init__(
        self,
        *,
        max_cooccurrence_items: int = 8192,
        visitors: Visitors | None = None,
        owners: Owners | None = None,
        history_ms: int = 0,
    ) -> None:
        self.seen_ms = 0
        self.catalogue = Catalogue()
        self.relations = Relations()
        self.visitors: Visitors = {} if visitors is None else visitors
        self.owners: Owners = {} if owners is None else owners
        self.history_ms = history_ms
        self.popularity = DayPopularity(self.catalogue.capacity)
        self.recent = RecentBaskets()
        self.cooccurrence = Cooccurrence(max_cooccurrence_items)
        self.slot_of: NDArray[np.int64] = np.full(self.catalogue.capacity, -1, np.int64)
        self.row_of_slot: NDArray[np.int64] = np.full(self.catalogue.capacity, -1, np.int64)
        self.vocabularies = Vocabularies()
        self._titles = TextNeighbours()

    def apply(self, visitor_id: str, kind: str, item_ids: Sequence[str], at_ms: int) -> None:
        """Takes in one interaction of a visitor with some items; repeats within it count once."""
        self._changing()
        self.seen_ms = max(self.seen_ms, at_ms)
        weight = KIND_WEIGHT.get(kind, 0.0)
        if weight == 0.0 or not item_ids:
            return
        rows = self.catalogue.rows(list(dict.fromkeys(item_ids)))
        self.make_room()
        owner = self.owner(visitor_id)
        visitor = self._known(owner) or VisitorHistory()
        self._weigh(visitor)
        is_purchase = kind == "purchase"
        earlier = visitor.add(rows, weight, is_purchase, at_ms)
        if is_purchase:
            visitor.price(self.catalogue.log_price[rows])
            self.catalogue.sold(rows, at_ms, earlier)
            self.recent.add(owner, rows)
        self.popularity.add(rows, weight, at_ms)
        self._relate(visitor, rows)
        self.visitors[owner] = visitor

    def put_item(
        self,
        item_id: str,
        title: str,
        price: float | None,
        at_ms: int,
        available: bool = True,
        *,
        category: str = "",
        stock: int | None = None,
        compatible_with: Sequence[str] = (),
        substitute_of: Sequence[str] = (),
    ) -> None:
        """Takes in what the shop says about an item; the newest call wins."""
        self._changing()
        self.seen_ms = max(self.seen_ms, at_ms)
        row = self.catalogue.row(item_id)
        self.make_room()
        self.catalogue.put(row, title, price, available, category=category, stock=stock)
        self.relations.put(item_id, compatible_with=compatible_with, substitute_of=substitute_of)

    def history(self, visitor_id: str, limit: int = 50) -> list[str]:
        """The visitor's newest interactions as item ids, newest last."""
        visitor = self.visitor(visitor_id)
        if visitor is None:
            return []
        return [self.catalogue.item_ids[row] for row in visitor.recent[-limit:]]

    def knows(self, visitor_id: str) -> bool:
        """Whether this visitor has interacted with anything."""
        return self.visitor(visitor_id) is not None

    def visitor(self, visitor_id: str) -> VisitorHistory | None:
        """The history that this id leads to."""
        return self._known(self.owner(visitor_id))

    def owner(self, visitor_id: str) -> str:
        """The id under which its history is kept: itself, unless it is linked to another."""
        name = visitor_id
        while (other := self.owners.get(name)) is not None:
            name = other
        return name

    def join(self, source: str, goal: str) -> None:
        """Puts what is kept under one id into what is kept under another."""
        self._changing()
        history, kept = self._known(source), self._known(goal)
        self.visitors.pop(source, None)
        if history is None:
            return
        self.recent.rename(source, goal)
        if kept is None:
            self.visitors[goal] = history
            return
        self._withdraw(history)
        self._weigh(kept)
        kept.take_in(history)
        self._relate(kept, np.zeros(0, np.int64))
        self.visitors[goal] = kept

    def drop(self, visitor_id: str) -> None:
        """Forgets the history that this id leads to; the shop's counts stay."""
        self._changing()
        history = self.visitors.pop(self.owner(visitor_id), None)
        if history is not None:
            self._withdraw(history)
            self.recent.forget(self.owner(visitor_id))

    def _changing(self) -> None:
        """Called before each change; who remembers what was computed forgets it here."""

    def is_outdated(self, visitor: VisitorHistory) -> bool:
        """Whether a history was left untouched for too long to be known.

        What it had to say of which items go together stays, as its counts of popularity do.
        """
        return 0 < self.history_ms < self.seen_ms - visitor.newest_ms

    def make_room(self) -> None:
        """Gives every per-item array the catalogue's capacity."""
        capacity = self.catalogue.capacity
        if capacity > self.popularity.capacity:
            self.popularity.grow(capacity)
            extra = np.full(capacity - len(self.slot_of), -1, np.int64)
            self.slot_of = np.concatenate([self.slot_of, extra])
            self.row_of_slot = np.concatenate([self.row_of_slot, extra])

    def vocabulary_columns(self, vocabulary: SequenceVocabulary) -> Rows:
        """Column of each catalogue item, len(vocabulary) for those that it does not know."""
        return self.vocabularies.columns(self.catalogue.item_ids, vocabulary)

    def vocabulary_rows(self, vocabulary: SequenceVocabulary) -> Rows:
        """Catalogue row of each column of a vocabulary, -1 for items unheard of, shape (V,)."""
        return self.vocabularies.rows(self.catalogue.item_ids, vocabulary)

    def related_by_slot(self, rows: Rows, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Weighted similarity of every related item to these rows, shape (cooccurrence.size,)."""
        slots = self.slot_of[rows]
        admitted = slots >= 0
        if not admitted.any():
            return np.zeros(self.cooccurrence.size, np.float32)
        return self.cooccurrence.scores(slots[admitted], weights[admitted])

    def related_of(
        self, rows: Rows, weights: NDArray[np.float32], wanted: Rows
    ) -> NDArray[np.float32]:
        """Weighted similarity of the wanted rows alone to these rows, shape of `wanted`."""
        slots, places = self.slot_of[rows], self.slot_of[wanted]
        admitted, placed = slots >= 0, places >= 0
        found = np.zeros(len(wanted), np.float32)
        found[placed] = self.cooccurrence.scores_of(
            slots[admitted], weights[admitted], places[placed]
        )
        return found

    def from_slots(self, by_slot: NDArray[np.float32], rows: Rows) -> NDArray[np.float32]:
        """The values of these rows out of those by slot, 0 for rows without a slot."""
        slots = self.slot_of[rows]
        if not len(by_slot):
            return np.zeros(len(rows), np.float32)
        return np.where(slots >= 0, by_slot[slots], np.float32(0))

    def cooccurrence_scores(self, rows: Rows, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Weighted similarity of every catalogue item to these rows, shape (len(catalogue),)."""
        scores = np.zeros(len(self.catalogue), np.float32)
        by_slot = self.related_by_slot(rows, weights)
        scores[self.row_of_slot[: len(by_slot)]] = by_slot
        return scores

    def alike(self, row: int, n: int) -> Rows:
        """Up to n rows whose titles are most like this row's, most alike first."""
        return self._titles.nearest(self.catalogue, row, n)

    def read_titles(self) -> None:
        """Makes `alike` ready; it takes in later changes by itself."""
        self._titles.follow(self.catalogue)

    def to_bytes(self) -> bytes:
        """A snapshot from which `from_bytes` goes on with the very same answers."""
        visitors = {name: v.to_dict() for name, v in self.visitors.items()}
        return pack(parts_of(self) | {"visitors": visitors, "owners": dict(self.owners)})

    @classmethod
    def from_bytes(cls, packed: bytes) -> ShopState:
        """The state that was saved; co-occurrence is summed again from the histories."""
        saved = unpack(packed)
        state = cls(max_cooccurrence_items=saved["max_cooccurrence_items"])
        put_parts(state, saved)
        state.owners = saved["owners"]
        for name, history in saved["visitors"].items():
            visitor = state.visitors[name] = VisitorHistory.from_dict(history)
            state._contribute(visitor)
        return state

    def _known(self, owner: str) -> VisitorHistory | None:
        """The history kept under this very id, unless it was left untouched for too long."""
        visitor = self.visitors.get(owner)
        if visitor is not None and self.is_outdated(visitor):
            return None
        return visitor

    def _relate(self, visitor: VisitorHistory, rows: Rows) -> None:
        """Brings the visitor's co-occurrence contribution up to date with their counts."""
        block = self.cooccurrence
        block.relations += 1
        slots = self.slot_of[rows]
        block.touched[slots[slots >= 0]] = block.relations
        for row in rows[slots < 0]:
            self._admit(int(row))
        slots, before = self._contribution(visitor)
        visitor.gram_weights = self._gram_weights(visitor)
        visitor.related = block.relations
        block.replace(slots, before, self._contribution(visitor)[1])

    def _admit(self, row: int) -> None:
        slot = self.cooccurrence.admit()
        former = int(self.row_of_slot[slot])
        if former >= 0:
            self.slot_of[former] = -1
        self.slot_of[row] = slot
        self.row_of_slot[slot] = row

    def _weigh(self, visitor: VisitorHistory) -> None:
        """Computes the weights of a history that comes from a shelf or a snapshot."""
        if len(visitor.gram_weights) != len(visitor.rows):
            visitor.gram_weights = self._gram_weights(visitor)

    def _gram_weights(self, visitor: VisitorHistory) -> NDArray[np.float32]:
        weights = visitor_weights(visitor.counts, self.cooccurrence.max_items)
        weights[self.slot_of[visitor.rows] < 0] = 0.0
        if len(weights) > RELATED_ITEMS:
            weights[np.argsort(-visitor.last_ms, kind="stable")[RELATED_ITEMS:]] = 0.0
        return weights

    def _contribution(self, visitor: VisitorHistory) -> tuple[Rows, NDArray[np.float32]]:
        """Slots of the visitor's items, and with which weights they are in the matrix."""
        slots = self.slot_of[visitor.rows]
        inside = slots >= 0
        slots, weights = slots[inside], visitor.gram_weights[inside]
        weights[self.cooccurrence.admitted[slots] > visitor.related] = 0.0
        return slots, weights

    def _withdraw(self, visitor: VisitorHistory) -> None:
        self._weigh(visitor)
        slots, weights = self._contribution(visitor)
        self.cooccurrence.replace(slots, weights, np.zeros_like(weights))

    def _contribute(self, visitor: VisitorHistory) -> None:
        self._weigh(visitor)
        slots, weights = self._contribution(visitor)
        self.cooccurrence.replace(slots, np.zeros_like(weights), weights)
