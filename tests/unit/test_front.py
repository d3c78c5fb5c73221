"""Who may ask what of a replica, before anything is computed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from adapters.access_check import Caller
from schemas.errors import Denied
from schemas.predictions import (
    ClassifyRequest,
    RecommendRequest,
    RequestRecord,
    SearchRequest,
    SimilarRequest,
)
from serving.front import Front

WHO = {"request_id": "r", "visitor_id": "v"}
ASKED: dict[str, RequestRecord] = {
    "home": RecommendRequest(**WHO),
    "similar": SimilarRequest(**WHO, item_id="i"),
    "search": SearchRequest(**WHO, query="cup"),
    "classify": ClassifyRequest(**WHO, task="tone", text="good"),
}


@pytest.fixture
def front() -> Front:
    absent: Any = None
    desk: Any = SimpleNamespace(checked=lambda request: request)
    live: Any = SimpleNamespace(ready=True)
    asks: Any = {type(request): "worker" for request in ASKED.values()}
    return Front(desk, live, asks, absent, absent, absent, absent)


def test_a_key_for_one_surface_asks_for_no_other_whatever_the_question(front: Front) -> None:
    for surface in ASKED:
        caller = Caller("shop", surfaces=(surface,))
        for shown_on, request in ASKED.items():
            if shown_on == surface:
                assert front.admitted(request, caller)
            else:
                with pytest.raises(Denied):
                    front.admitted(request, caller)
