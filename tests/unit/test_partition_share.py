"""Which process a visitor belongs to, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.murmur2 import partition_of
from core.partition_share import Share, share_of
from core.pseudonyms import parse_pepper
from core.settings import Settings
from schemas.errors import BadSettings, InvalidEvent
from schemas.http_routes import BY_NAME
from schemas.predictions import ClassifyRequest, RecommendRequest, RequestRecord
from serving.desk import Desk
from serving.problems import problem_of


@given(st.text(min_size=1), st.integers(1, 8), st.data())
def test_a_visitor_belongs_to_exactly_one_of_shares_that_divide_the_partitions(
    visitor: str, of: int, data: st.DataObject
) -> None:
    owners = data.draw(st.lists(st.integers(0, 2), min_size=of, max_size=of))
    shares = [Share(tuple(n for n in range(of) if owners[n] == who), of) for who in set(owners)]
    at = partition_of(visitor, of)
    for share in shares:
        if at in share.partitions:
            share.check(visitor)
        else:
            with pytest.raises(InvalidEvent, match=f"partition {at}"):
                share.check(visitor)
    assert sum(at in share.partitions for share in shares) == 1


@pytest.mark.parametrize("text", ["2", "-1", "a", "0,", ",", "0;1", "00", "1 0"])
def test_a_share_that_names_no_partition_is_refused(text: str) -> None:
    with pytest.raises(BadSettings, match="SHOPLOOP_SERVED_PARTITIONS"):
        share_of(text, 2)


def test_naming_every_partition_is_as_naming_none() -> None:
    assert share_of("1,0,1", 2) == share_of(" ", 2)
    assert not share_of("1", 2).is_whole


@pytest.mark.parametrize("pepper", [None, parse_pepper("k1:" + "00" * 32)])
def test_the_shop_s_own_id_decides_and_the_answer_names_the_partition(pepper: object) -> None:
    absent: object = None
    desk = Desk(Settings(served_partitions="0"), "p", absent, absent, pepper)  # type: ignore[arg-type]
    here = RecommendRequest(request_id="r", visitor_id="ann")
    assert desk.checked(here) is here
    elsewhere: list[RequestRecord] = [
        RecommendRequest(request_id="r", visitor_id="dan"),
        ClassifyRequest(request_id="r", visitor_id="dan", task="tone", text="good"),
    ]
    for request in elsewhere:
        with pytest.raises(InvalidEvent) as caught:
            desk.checked(request)
        problem, _ = problem_of(caught.value, BY_NAME["recommend"])
        assert (problem.status, problem.type) == (421, "urn:shoploop:problem:misdirected")
        assert "partition 1" in problem.detail
        assert "dan" not in problem.detail
