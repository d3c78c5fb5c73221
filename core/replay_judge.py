"""What followed each answer of a replay, kept apart from the streams' own join.

Holds the baskets of open requests and, once their window has passed, one judged request with the
lists of every policy. Judging: hit and recall; what counts on a surface is in `core/surfaces.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from core.replay_plan import Ask
from core.surfaces import wanted

SHOWN = "loop"


class JudgedRequest(msgspec.Struct):
    """One request: the lists given for it and what was bought in its window.

    `prediction_id` names the answer that was shown.
    """

    request_id: str
    visitor_id: str
    surface: str
    session_id: str | None
    served_at_ms: int
    bought_before: frozenset[str]
    prediction_id: str = ""
    lists: dict[str, list[str]] = {}
    basket: set[str] = set()
    new_basket: set[str] = set()

    @property
    def wanted(self) -> set[str]:
        """The items that count on this surface; empty when the request is not counted."""
        return set(wanted(self.surface, self.basket, self.new_basket))


class Judge:
    """Open requests, in the order asked; purchases come in event-time order."""

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._bought: dict[str, set[str]] = {}
        self._open: deque[JudgedRequest] = deque()
        self._by_request: dict[str, JudgedRequest] = {}
        self._by_visitor: dict[str, list[JudgedRequest]] = {}

    def ask(self, ask: Ask) -> None:
        """Opens its request on each surface; call it before the purchases that follow the ask."""
        before = frozenset(self._bought.get(ask.visitor_id, ()))
        for surface, request_id in ask.request_ids.items():
            request = JudgedRequest(
                request_id=request_id,
                visitor_id=ask.visitor_id,
                surface=surface,
                session_id=ask.session_id,
                served_at_ms=ask.as_of_ms,
                bought_before=before,
            )
            self._open.append(request)
            self._by_request[request.request_id] = request
            self._by_visitor.setdefault(ask.visitor_id, []).append(request)

    def answer(
        self, request_id: str, policy: str, item_ids: list[str], prediction_id: str = ""
    ) -> None:
        """Notes the list a policy gave, and which answer it was when it was the one shown."""
        request = self._by_request.get(request_id)
        if request is None:
            return
        request.lists.setdefault(policy, item_ids)
        if policy == SHOWN:
            request.prediction_id = prediction_id

    def purchase(
        self, visitor_id: str, session_id: str | None, at_ms: int, item_ids: Sequence[str]
    ) -> None:
        """Adds a purchase to the baskets of the visitor's open requests that it follows."""
        for request in self._by_visitor.get(visitor_id, ()):
            late = at_ms > request.served_at_ms + self._window_ms
            if late or at_ms <= request.served_at_ms:
                continue
            if request.session_id is not None and request.session_id != session_id:
                continue
            request.basket.update(item_ids)
            request.new_basket.update(set(item_ids) - request.bought_before)
        self._bought.setdefault(visitor_id, set()).update(item_ids)

    def shown(self, visitor_id: str, session_id: str | None, at_ms: int) -> dict[str, str]:
        """Items on the visitor's open lists at this time, with the answer that showed each.

        The newest answer wins; of answers of the same time the one on the first surface does.
        """
        found: dict[str, str] = {}
        for request in sorted(
            self._by_visitor.get(visitor_id, ()), key=lambda open_: -open_.served_at_ms
        ):
            late = at_ms > request.served_at_ms + self._window_ms
            other_session = request.session_id is not None and request.session_id != session_id
            if late or at_ms <= request.served_at_ms or other_session:
                continue
            for item_id in request.lists.get(SHOWN, ()):
                found.setdefault(item_id, request.prediction_id)
        return found

    def close(self, watermark_ms: int) -> list[JudgedRequest]:
        """The requests whose window has passed; they are forgotten here."""
        closed = []
        while self._open and self._open[0].served_at_ms + self._window_ms <= watermark_ms:
            request = self._open.popleft()
            closed.append(request)
            del self._by_request[request.request_id]
            rest = [r for r in self._by_visitor[request.visitor_id] if r is not request]
            if rest:
                self._by_visitor[request.visitor_id] = rest
            else:
                del self._by_visitor[request.visitor_id]
        return closed
