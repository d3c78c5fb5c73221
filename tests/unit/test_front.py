"""Who may ask what of a replica, before anything is computed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.access_check import ANYONE, Caller
from schemas.errors import DeadlineExceeded, Denied
from schemas.http_routes import BY_NAME
from schemas.predictions import (
    ClassifyRequest,
    RecommendRequest,
    RequestRecord,
    SearchRequest,
    SimilarRequest,
)
from serving.asgi import Call
from serving.front import Front
from serving.web_questions import Questions

WHO = {"request_id": "r", "visitor_id": "v"}
ASKED: dict[str, RequestRecord] = {
    "home": RecommendRequest(**WHO),
    "similar": SimilarRequest(**WHO, item_id="i"),
    "search": SearchRequest(**WHO, query="cup"),
    "classify": ClassifyRequest(**WHO, task="tone", text="good"),
}


class _Late:
    async def ask_many(self, requests: list[RequestRecord], _caller: str) -> list[Exception]:
        return [DeadlineExceeded("late") for _ in requests]


@pytest.fixture
def front() -> Front:
    absent: Any = None
    desk: Any = SimpleNamespace(checked=lambda request: request)
    live: Any = SimpleNamespace(ready=True)
    asks: Any = {type(request): _Late() for request in ASKED.values()}
    metrics: Any = SimpleNamespace(refused=lambda reason: None)
    access: Any = SimpleNamespace(charge=lambda caller, cost: caller)
    return Front(desk, live, asks, absent, metrics, access, absent)


def test_a_key_for_one_surface_asks_for_no_other_whatever_the_question(front: Front) -> None:
    for surface in ASKED:
        caller = Caller("shop", surfaces=(surface,))
        for shown_on, request in ASKED.items():
            if shown_on == surface:
                assert front.admitted(request, caller)
            else:
                with pytest.raises(Denied):
                    front.admitted(request, caller)


@pytest.mark.parametrize(
    ("question", "is_final"), [('{"visitor_id": "v"}', False), ('{"k": 0}', True)]
)
def test_a_batch_is_final_unless_a_question_may_be_answered_a_moment_later(
    front: Front, question: str, is_final: bool
) -> None:
    body = f'{{"requests": [{question}]}}'.encode()
    call = Call(BY_NAME["recommend_batch"], {}, body, ANYONE, "m")
    response = asyncio.run(Questions(front, "recommend").many(call))
    assert (response.status, response.is_final) == (207, is_final)
