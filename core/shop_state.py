"""All live features of one shop: catalogue, visitors' histories, popularity and co-occurrence.

It changes only through `apply` and `put_item`, reads no clock and draws nothing at random, so the
same records in the same order give the same state in every process. Refunds change no count: what
was sent back was wanted, and the judged basket keeps it too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.array_packing import pack, unpack
from core.catalogue import Catalogue, Rows
from core.cooccurrence import Cooccurrence, visitor_weights
from core.popularity import DayPopularity
from core.recent_baskets import RecentBaskets
from core.relations import Relations
from core.sequence import SequenceVocabulary
from core.visitor_history import VisitorHistory

KIND_WEIGHT = {"purchase": 1.0, "add_to_cart": 0.5, "view_item": 0.1, "select_item": 0.1}
"""How much one interaction counts beside a purchase; a kind not named here counts nothing."""

RELATED_ITEMS = 50
"""Only a visitor's newest items relate to each other: cheaper, and nearer to the next basket."""

KEPT_VOCABULARIES = 4
_EVICTED_SHARE = 8


class ShopState:
    """Live state; one writer, and readers in the same thread."""

    def __init__(self, *, max_cooccurrence_items: int = 8192) -> None:
        self.seen_ms = 0
        self.catalogue = Catalogue()
        self.relations = Relations()
        self.visitors: dict[str, VisitorHistory] = {}
        self.owners: dict[str, str] = {}  # an id that is another name for that one
        self.popularity = DayPopularity(self.catalogue.capacity)
        self.recent = RecentBaskets()
        self.cooccurrence = Cooccurrence(max_cooccurrence_items)
        self.slot_of: NDArray[np.int64] = np.full(self.catalogue.capacity, -1, np.int64)
        self.row_of_slot: NDArray[np.int64] = np.full(self.catalogue.capacity, -1, np.int64)
        self._columns: dict[int, tuple[SequenceVocabulary, Rows]] = {}

    def apply(self, visitor_id: str, kind: str, item_ids: Sequence[str], at_ms: int) -> None:
        """Takes in one interaction of a visitor with some items; repeats within it count once."""
        self.seen_ms = max(self.seen_ms, at_ms)
        weight = KIND_WEIGHT.get(kind, 0.0)
        if weight == 0.0 or not item_ids:
            return
        rows = self.catalogue.rows(list(dict.fromkeys(item_ids)))
        self._make_room()
        owner = self.owner(visitor_id)
        visitor = self.visitors.get(owner)
        if visitor is None:
            visitor = self.visitors[owner] = VisitorHistory()
        is_purchase = kind == "purchase"
        earlier = visitor.add(rows, weight, is_purchase, at_ms)
        if is_purchase:
            visitor.price(self.catalogue.log_price[rows])
            self.catalogue.sold(rows, at_ms, earlier)
            self.recent.add(owner, rows)
        self.popularity.add(rows, weight, at_ms)
        self._relate(visitor, rows)

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
        self.seen_ms = max(self.seen_ms, at_ms)
        row = self.catalogue.row(item_id)
        self._make_room()
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
        return self.owner(visitor_id) in self.visitors

    def visitor(self, visitor_id: str) -> VisitorHistory | None:
        """The history that this id leads to."""
        return self.visitors.get(self.owner(visitor_id))

    def owner(self, visitor_id: str) -> str:
        """The id under which its history is kept: itself, unless it is linked to another."""
        name = visitor_id
        while (other := self.owners.get(name)) is not None:
            name = other
        return name

    def join(self, source: str, goal: str) -> None:
        """Puts what is kept under one id into what is kept under another."""
        history = self.visitors.pop(source, None)
        if history is None:
            return
        self.recent.rename(source, goal)
        kept = self.visitors.get(goal)
        if kept is None:
            self.visitors[goal] = history
            return
        self._withdraw(history)
        kept.take_in(history)
        self._relate(kept, np.zeros(0, np.int64))

    def drop(self, visitor_id: str) -> None:
        """Forgets the history that this id leads to; the shop's counts stay."""
        history = self.visitors.pop(self.owner(visitor_id), None)
        if history is not None:
            self._withdraw(history)
            self.recent.forget(self.owner(visitor_id))

    def vocabulary_columns(self, vocabulary: SequenceVocabulary) -> Rows:
        """Column of each catalogue item, len(vocabulary) for those that it does not know."""
        columns = self._columns.pop(id(vocabulary), (vocabulary, np.zeros(0, np.int64)))[1]
        fresh = self.catalogue.item_ids[len(columns) :]
        if fresh:
            columns = np.concatenate([columns, columns_of(fresh, vocabulary)])
        self.know_columns(vocabulary, columns)
        return columns

    def know_columns(self, vocabulary: SequenceVocabulary, columns: Rows) -> None:
        """Takes in columns of the first catalogue items, found beforehand by `columns_of`."""
        while len(self._columns) >= KEPT_VOCABULARIES:
            del self._columns[next(iter(self._columns))]
        self._columns[id(vocabulary)] = vocabulary, columns

    def cooccurrence_scores(self, rows: Rows, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Weighted similarity of every catalogue item to these rows, shape (len(catalogue),)."""
        scores = np.zeros(len(self.catalogue), np.float32)
        slots = self.slot_of[rows]
        admitted = slots >= 0
        if admitted.any():
            by_slot = self.cooccurrence.scores(slots[admitted], weights[admitted])
            scores[self.row_of_slot[: len(by_slot)]] = by_slot
        return scores

    def to_bytes(self) -> bytes:
        """A snapshot from which `from_bytes` goes on with the very same answers."""
        return pack(
            {
                "seen_ms": self.seen_ms,
                "max_cooccurrence_items": self.cooccurrence.max_items,
                "catalogue": self.catalogue.to_dict(),
                "relations": self.relations.to_dict(),
                "buckets": self.popularity.buckets,
                "row_of_slot": self.row_of_slot[: self.cooccurrence.size],
                "visitors": {name: v.to_dict() for name, v in self.visitors.items()},
                "owners": self.owners,
                "recent": self.recent.to_list(),
            }
        )

    @classmethod
    def from_bytes(cls, packed: bytes) -> ShopState:
        """The state that was saved; co-occurrence is summed again from the histories."""
        saved = unpack(packed)
        state = cls(max_cooccurrence_items=saved["max_cooccurrence_items"])
        state.seen_ms = saved["seen_ms"]
        state.catalogue = Catalogue.from_dict(saved["catalogue"])
        state.relations = Relations.from_dict(saved.get("relations", {}))
        state._make_room()
        state.popularity.buckets = saved["buckets"]
        state.owners = saved.get("owners", {})
        state.recent = RecentBaskets.from_list(saved.get("recent", []))
        for row in saved["row_of_slot"].tolist():
            state._admit(row)
        for name, history in saved["visitors"].items():
            visitor = state.visitors[name] = VisitorHistory.from_dict(history)
            state._contribute(visitor)
        return state

    def _make_room(self) -> None:
        capacity = self.catalogue.capacity
        if capacity > self.popularity.capacity:
            self.popularity.grow(capacity)
            extra = np.full(capacity - len(self.slot_of), -1, np.int64)
            self.slot_of = np.concatenate([self.slot_of, extra])
            self.row_of_slot = np.concatenate([self.row_of_slot, extra])

    def _relate(self, visitor: VisitorHistory, rows: Rows) -> None:
        """Brings the visitor's co-occurrence contribution up to date with their counts."""
        for row in rows[self.slot_of[rows] < 0]:
            if not self._admit(int(row)):
                self._evict()
                break
        slots = self.slot_of[visitor.rows]
        weights = self._gram_weights(visitor)
        inside = slots >= 0
        self.cooccurrence.replace(slots[inside], visitor.gram_weights[inside], weights[inside])
        visitor.gram_weights = weights

    def _admit(self, row: int) -> bool:
        slot = self.cooccurrence.admit()
        if slot is None:
            return False
        self.slot_of[row] = slot
        self.row_of_slot[slot] = row
        return True

    def _evict(self) -> None:
        """Drops the eighth of items untouched for longest and rebuilds from the histories.

        A full block thus costs one rebuild per `max_items / 8` new items; items left out keep
        popularity, own-item and model scores, and come back with their next interaction.
        """
        last = self.catalogue.last_ms[: len(self.catalogue)]
        kept = max(self.cooccurrence.max_items * (_EVICTED_SHARE - 1) // _EVICTED_SHARE, 1)
        newest = np.argsort(-last, kind="stable")[:kept]
        self.cooccurrence.clear()
        self.slot_of[:] = -1
        self.row_of_slot[:] = -1
        for row in np.sort(newest):
            self._admit(int(row))
        for visitor in self.visitors.values():
            visitor.gram_weights = self._gram_weights(visitor)
            self._contribute(visitor)

    def _gram_weights(self, visitor: VisitorHistory) -> NDArray[np.float32]:
        weights = visitor_weights(visitor.counts, self.cooccurrence.max_items)
        weights[self.slot_of[visitor.rows] < 0] = 0.0
        if len(weights) > RELATED_ITEMS:
            weights[np.argsort(-visitor.last_ms, kind="stable")[RELATED_ITEMS:]] = 0.0
        return weights

    def _withdraw(self, visitor: VisitorHistory) -> None:
        slots = self.slot_of[visitor.rows]
        inside = slots >= 0
        weights = visitor.gram_weights[inside]
        self.cooccurrence.replace(slots[inside], weights, np.zeros_like(weights))

    def _contribute(self, visitor: VisitorHistory) -> None:
        slots = self.slot_of[visitor.rows]
        inside = slots >= 0
        weights = visitor.gram_weights[inside]
        self.cooccurrence.replace(slots[inside], np.zeros_like(weights), weights)


def columns_of(item_ids: Sequence[str], vocabulary: SequenceVocabulary) -> Rows:
    """Column of each item in a vocabulary, len(vocabulary) for those that it does not know.

    >>> columns_of(["b", "new", "a"], SequenceVocabulary(["a", "b"])).tolist()
    [1, 2, 0]
    """
    column_of, unknown = vocabulary.index, len(vocabulary)
    return np.fromiter((column_of.get(item, unknown) for item in item_ids), np.int64, len(item_ids))
