"""What the retail part tells the peers, and when the trigger trains."""

from bench.floor_data import WEEK_MS, Session
from bench.floor_loop import Judged
from bench.trainer_retail_drift import Trigger
from bench.trainer_retail_peers import Asked, figures
from core.rehearsal import PastSession
from core.settings import HOUR_MS

START = 60 * WEEK_MS


def _session(visitor: str, items: tuple[str, ...], at_ms: int) -> Session:
    return Session(PastSession(visitor, items, at_ms), (), is_guest=False)


def test_a_peer_knows_the_history_when_asked_and_fits_when_the_week_began() -> None:
    asked = Asked(START)
    asked.put(_session("ann", ("tea", "cup"), START - 1))
    asked.week(START)
    asked.put(_session("ann", ("hat",), START + 1))
    asked.week(START + 2)
    asked.ask(_session("ann", ("hat", "pen"), START + 2))
    asked.week(START + WEEK_MS)
    asked.ask(_session("ann", ("hat",), START + WEEK_MS))
    assert asked.requests == [(0, 3, 2), (0, 3, 3)]
    assert [wanted["discover"] for _, wanted in asked.wanted] == [{"pen"}, set()]


def test_figures_count_hits_and_shares_of_the_basket() -> None:
    rows = [Judged("loop", "home", "ann", 0, 1, 4), Judged("loop", "home", "bob", 0, 0, 2)]
    assert figures(rows) == {"loop": {"hr10": 0.5, "recall10": 0.125, "n": 2}}


def _walk(new_items: bool) -> Trigger:
    trigger = Trigger()
    for n in range(400):
        trigger.basket(_session(f"v{n}", (f"i{n % 40}", "tea"), START - (400 - n) * HOUR_MS))
    trigger.start(START)
    for n in range(800):
        now_ms = START + n * HOUR_MS
        item = f"new{n % 40}" if new_items else f"i{n % 40}"
        trigger.barrier(now_ms)
        trigger.answered(Judged("triggered", "home", f"v{n}", now_ms, 1, 2))
        trigger.basket(_session(f"v{n}", (item, "tea"), now_ms))
    return trigger


def test_unknown_items_trigger_a_training_and_known_ones_do_not() -> None:
    found = _walk(new_items=True).trainings
    assert found
    assert found[0].reason.startswith("unknown_items_cusum")
    assert found[0].ready_ms - found[0].at_ms == 6 * HOUR_MS
    assert not _walk(new_items=False).trainings
