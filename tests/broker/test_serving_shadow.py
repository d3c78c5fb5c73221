"""The shadow on a real broker: every policy per served answer, control last, nothing from later."""

from pathlib import Path

from serving_factory import (
    Served,
    Shop,
    answers_of,
    progress_of,
    reading,
    running,
)

from core.settings import Settings
from schemas import topics
from schemas.ids import derived_id

POLICIES = ["popular_7d", "own_items", "also_bought", "challenger", "control"]
START = 1_300_000_000_000
HOUR_MS = 3_600_000


def _has_control(predictions: Served, request_id: str) -> bool:
    return any(each.policy == "control" for each in predictions.derived(request_id))


def test_shadow_writes_every_policy_and_the_control_last(
    kafka_address: str, unique_prefix: str, tmp_path: Path
) -> None:
    shop = Shop(Settings(kafka=kafka_address, topic_prefix=unique_prefix, home=str(tmp_path)))
    shop.stock()
    first, second = shop.version(1), shop.version(2)
    shop.point(first, challenger=second, control=first)
    with (
        running(shop.settings),
        running(shop.settings, "shadow"),
        answers_of(shop.settings) as predictions,
    ):
        asked = [shop.ask("first", session_id="s"), shop.ask("nobody", surface="discover")]
        shop.flush()
        for request_id in asked:
            predictions.until(lambda _, name=request_id: _has_control(predictions, name))
    for request_id in asked:
        served = predictions.served()[request_id][0]
        derived = predictions.derived(request_id)
        assert [each.policy for each in derived] == POLICIES
        assert (derived[0].arm, derived[0].model_version) == ("shadow", "popular_7d")
        assert (derived[-2].arm, derived[-2].model_version) == ("shadow", second)
        assert (derived[-1].arm, derived[-1].model_version) == ("control", first)
        for each in derived:
            assert each.prediction_id == derived_id("prediction", request_id, each.policy)
            assert each.derived_from == served.prediction_id
            assert len(each.slots) == len(served.slots)
            assert (each.session_id, each.served_at_ms) == (served.session_id, served.served_at_ms)
            assert (each.considered, each.slots[0].features) == ([], [])
        # The control is the same version on the same state: it must give the very same list.
        assert [s.item_id for s in derived[-1].slots] == [s.item_id for s in served.slots]


def test_shadow_killed_in_a_replay_goes_on_at_its_barrier(
    kafka_address: str, unique_prefix: str, tmp_path: Path
) -> None:
    shop = Shop(Settings(kafka=kafka_address, topic_prefix=unique_prefix, home=str(tmp_path)))
    shop.stock()
    version = shop.version(1)
    shop.point(version, control=version)
    mine = progress_of("shadow")
    with (
        running(shop.settings),
        answers_of(shop.settings) as predictions,
        reading(shop.settings, topics.PROGRESS) as progress,
    ):
        with running(shop.settings, "shadow") as doomed:
            shop.barrier(START, 0)
            shop.buy("v", "f", at_ms=START + 1)
            shop.barrier(START + HOUR_MS, 1)
            progress.until(lambda r: any(each.barrier == 1 for each in mine(r)))
            asked = shop.ask("v", as_of_ms=START + HOUR_MS + 1)
            shop.flush()
            predictions.until(lambda _: _has_control(predictions, asked))
            assert doomed.stop() == 0
        again = shop.ask("v", as_of_ms=START + HOUR_MS + 2)
        shop.flush()
        predictions.answers([again])
        count = len(progress.records)
        with running(shop.settings, "shadow"):
            predictions.until(lambda _: _has_control(predictions, again))
            progress.until(lambda r: any(each.barrier == 1 for each in mine(r[count:])))
    own = {each.policy: each for each in predictions.derived(again)}["own_items"]
    assert own.slots[0].item_id == "f"
    served = predictions.served()[again][0]
    control = predictions.derived(again)[-1]
    assert [s.item_id for s in control.slots] == [s.item_id for s in served.slots]
