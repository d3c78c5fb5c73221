"""Which purchases judge which answers."""

from core.replay_judge import Judge
from core.replay_plan import Ask

DAY_MS = 86_400_000
SURFACES = ("home", "discover", "buy_again")


def ask(visitor="v", at_ms=1_000, session="s"):
    return Ask(visitor, at_ms, "e", session, {name: f"{name}-{at_ms}" for name in SURFACES})


def judged(judge):
    return {request.surface: request for request in judge.close(10 * DAY_MS)}


def test_a_basket_is_all_purchases_of_the_session_in_the_window():
    judge = Judge(DAY_MS)
    judge.ask(ask())
    judge.purchase("v", "s", 2_000, ["a"])
    judge.purchase("v", "s", 3_000, ["b"])
    judge.purchase("v", "other", 4_000, ["c"])
    judge.purchase("w", "s", 5_000, ["d"])
    judge.purchase("v", "s", 1_001 + DAY_MS, ["e"])
    assert judged(judge)["home"].wanted == {"a", "b"}


def test_discover_wants_what_the_visitor_had_not_bought_and_buy_again_the_rest():
    judge = Judge(DAY_MS)
    judge.purchase("v", "earlier", 500, ["a"])
    judge.ask(ask())
    judge.purchase("v", "s", 2_000, ["a", "b"])
    judge.purchase("v", "s", 3_000, ["b"])
    found = judged(judge)
    assert found["home"].wanted == {"a", "b"}
    assert found["discover"].wanted == {"b"}
    assert found["buy_again"].wanted == {"a"}


def test_without_a_session_every_purchase_in_the_window_counts():
    judge = Judge(DAY_MS)
    judge.ask(ask(session=None))
    judge.purchase("v", "x", 2_000, ["a"])
    judge.purchase("v", None, 3_000, ["b"])
    assert judged(judge)["home"].wanted == {"a", "b"}


def test_an_item_on_both_lists_is_credited_to_the_first_surface():
    judge = Judge(DAY_MS)
    judge.ask(ask())
    judge.answer("home-1000", "loop", ["a"], "p-home")
    judge.answer("discover-1000", "loop", ["a", "b"], "p-discover")
    judge.answer("discover-1000", "control", ["c"], "p-control")
    assert judge.shown("v", "s", 2_000) == {"a": "p-home", "b": "p-discover"}
    assert judge.shown("v", "s", 1_000) == {}
    assert judge.shown("v", "other", 2_000) == {}


def test_a_request_is_judged_when_its_window_has_passed_and_once():
    judge = Judge(DAY_MS)
    judge.ask(ask())
    assert judge.close(1_000 + DAY_MS - 1) == []
    assert len(judge.close(1_000 + DAY_MS)) == 3
    assert judge.close(10 * DAY_MS) == []
    assert judge.shown("v", "s", 2_000) == {}
