"""From data to a signed version: it loads, repeats itself, and nonsense does not pass the gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from shop_factory import shop_data

from adapters.artefacts import ArtefactStore
from adapters.onnx import load_version
from adapters.signing import load_or_create
from core.features import feature_schema_hash
from core.ranking import RankerWeights
from core.settings import Settings
from schemas.errors import RejectedModel
from schemas.models import Retrain
from trainer.explain.report import Explained
from trainer.recommend.data import Interaction, ShopData, clean
from trainer.recommend.pipeline import Pipeline, Tools
from trainer.recommend.windows import VisitorSessions
from trainer.stages import Stages
from trainer.version import Made, failure_of, publish_of

SETTINGS = Settings(training_cost_ms=3_600_000)


class Workshop:
    """A trainer's pipeline over a directory of its own."""

    def __init__(self, folder: Path) -> None:
        self.store = ArtefactStore((folder / "artefacts").as_uri())
        self.key = load_or_create(folder)
        self.pipeline = Pipeline(Tools(SETTINGS, self.store, self.key))

    def train(
        self,
        data: ShopData,
        parent: str | None = None,
        disturb: Callable[[list[VisitorSessions]], list[VisitorSessions]] | None = None,
        live: Mapping[str, RankerWeights] | None = None,
    ) -> Made:
        job = replace(self.pipeline.job(retrain(data, parent), data, live or {}), disturb=disturb)
        return self.pipeline.run(job, Stages("test", show=False))


def retrain(data: ShopData, parent: str | None = None) -> Retrain:
    return Retrain(
        retrain_id=f"r{data.until_ms}",
        task="recommend",
        state="accepted",
        kind="manual",
        reason="test",
        event_time_ms=data.until_ms,
        data_until_ms=data.until_ms,
        parent_version=parent,
        offsets={"events.valid/0": 10},
    )


def shuffled(visitors: list[VisitorSessions]) -> list[VisitorSessions]:
    """The same sessions with every item that is learned from handed to anybody."""
    items = [item for v in visitors for s in v.sessions[v.fresh_from :] for item in s]
    drawn = iter(np.random.default_rng(5).permutation(items).tolist())
    return [
        replace(
            v,
            sessions=v.sessions[: v.fresh_from]
            + tuple(tuple(next(drawn) for _ in s) for s in v.sessions[v.fresh_from :]),
        )
        for v in visitors
    ]


def bought_once(data: ShopData) -> ShopData:
    """The same without what a customer buys again."""
    known, found = set[tuple[str, str]](), list[Interaction]()
    for one in data.interactions:
        fresh = tuple(i for i in one.item_ids if (one.visitor_id, i) not in known)
        known.update((one.visitor_id, item) for item in fresh)
        found.append(replace(one, item_ids=fresh))
    return replace(data, interactions=[one for one in found if one.item_ids])


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("trainer"))


@pytest.fixture(scope="module")
def first(workshop: Workshop) -> Made:
    return workshop.train(shop_data(50))


def test_an_honest_first_version_passes_and_loads_as_serving_loads_it(
    workshop: Workshop, first: Made
) -> None:
    assert first.gate.passed, first.gate.reason
    version = first.manifest.version
    loaded = load_version(
        workshop.store, "recommend", version, workshop.key.public_key(), feature_schema_hash()
    )
    assert set(loaded.ranker) == {"home", "discover", "buy_again"}
    assert "buy_again_answer_vs_own_items" in {check.name for check in first.gate.checks}
    assert loaded.manifest.parameters["refit_on_holdout"] is True
    assert loaded.score([["0001", "0002"]]).shape == (1, len(loaded.vocabulary) + 1)


def test_a_served_version_prefers_the_taste_of_the_history(workshop: Workshop, first: Made) -> None:
    loaded = load_version(
        workshop.store,
        "recommend",
        first.manifest.version,
        workshop.key.public_key(),
        feature_schema_hash(),
    )
    scores = loaded.score([["2001", "2002", "2003", "2004", "2005", "2006"]])[0]
    best = [loaded.vocabulary[i - 1] for i in np.argsort(-scores)[:10]]
    assert sum(item.startswith("2") for item in best) >= 8


def test_the_same_data_and_seed_give_the_same_version(first: Made, tmp_path: Path) -> None:
    again = Workshop(tmp_path).train(shop_data(50))
    assert again.manifest.version == first.manifest.version
    assert again.manifest.files == first.manifest.files


def test_a_version_tells_what_moves_its_rankers(first: Made) -> None:
    moved = msgspec.json.decode(first.files["explain.json"], type=Explained).rankers
    assert set(moved) == {"home", "discover", "buy_again"}
    assert all(one.n > 0 and max(one.sources.values()) > 0 for one in moved.values())


def test_a_manifest_holds_the_data_card_and_the_table_of_forms(
    workshop: Workshop, first: Made
) -> None:
    assert first.manifest.card["leaked_sessions"] == 0
    assert {each.name for each in first.manifest.variants} == {
        "float32",
        "int8",
        "pruned",
        "student",
    }
    again = workshop.train(shop_data(50))
    assert again.manifest_bytes == first.manifest_bytes  # wall times are those first stored


def test_an_honest_warm_start_passes_against_its_champion(workshop: Workshop, first: Made) -> None:
    later = workshop.train(shop_data(64), first.manifest.version)
    assert later.gate.passed, later.gate.reason
    assert later.manifest.parent == first.manifest.version
    assert later.manifest.parameters["warm_start"] is True
    names = {check.name for check in later.gate.checks}
    assert {"discover_log_prob_vs_champion", "discover_gain_from_history"} <= names
    assert {"buy_again_answer_vs_champion", "buy_again_calibration"} <= names


def test_the_state_kept_between_trainings_changes_no_version(
    first: Made, workshop: Workshop
) -> None:
    parent = first.manifest.version
    kept = workshop.train(shop_data(64), parent)
    workshop.pipeline = Pipeline(Tools(SETTINGS, workshop.store, workshop.key))
    fresh = workshop.train(shop_data(64), parent)
    assert kept.manifest.version == fresh.manifest.version


@pytest.mark.parametrize("warm", [False, True])
def test_the_gate_refuses_a_candidate_trained_on_shuffled_labels(
    workshop: Workshop, first: Made, warm: bool
) -> None:
    parent = first.manifest.version if warm else None
    made = workshop.train(shop_data(64), parent, shuffled)
    assert not made.gate.passed
    if not warm:
        assert "discover_gain_from_history" in made.gate.reason
    assert made.manifest.parameters["refit_on_holdout"] is False


def test_a_damaged_champion_is_left_aside_on_record(workshop: Workshop, tmp_path: Path) -> None:
    made = Workshop(tmp_path).train(shop_data(50), "20110101-0123456789abcdef")
    assert made.manifest.parent is None
    assert str(made.manifest.parameters["champion_refused"]).startswith("missing_file")


def test_too_little_data_is_said_so(workshop: Workshop) -> None:
    empty = clean([], [], 1_300_000_000_000, 0)
    with pytest.raises(RejectedModel) as caught:
        workshop.train(empty)
    assert caught.value.reason == "too_little_data"


def test_a_publish_costs_its_event_time_and_repeats_under_one_id(first: Made) -> None:
    asked = retrain(shop_data(50))
    offered = publish_of(asked, SETTINGS, first)
    assert offered.event_time_ms == asked.event_time_ms + SETTINGS.training_cost_ms
    assert offered.data_until_ms == asked.data_until_ms
    assert [w.surface for w in offered.ranker] == ["buy_again", "discover", "home"]
    assert {w.model_version for w in offered.ranker} == {first.manifest.version}
    assert failure_of(asked, SETTINGS, "x").command_id == offered.command_id


def test_a_version_judged_with_the_weights_in_force_ships_them_but_offers_none(
    workshop: Workshop, first: Made
) -> None:
    data = shop_data(64)
    later = workshop.train(data, first.manifest.version, live=first.ranker)
    assert dict(later.ranker) == dict(first.ranker)
    assert later.files["ranker.json"] == first.files["ranker.json"]
    assert publish_of(retrain(data), SETTINGS, later).ranker == []
    assert later.manifest.card["ranked_as_home"] == ""


def test_a_surface_with_too_little_to_be_fitted_on_begins_as_home(
    workshop: Workshop, first: Made
) -> None:
    data = bought_once(shop_data(64))
    made = workshop.train(data, first.manifest.version)
    assert made.manifest.card["ranked_as_home"] == "buy_again"
    assert not any(check.name.startswith("buy_again") for check in made.gate.checks)
    offered = {each.surface: each for each in publish_of(retrain(data), SETTINGS, made).ranker}
    assert set(offered) == {"home", "discover", "buy_again"}
    assert offered["buy_again"].coef == offered["home"].coef != offered["discover"].coef
