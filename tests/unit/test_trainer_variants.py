"""Smaller forms of a graph: made, judged against the whole, and put into the manifest."""

from __future__ import annotations

import numpy as np
import pytest
from shop_factory import shop_data

from adapters.sequence_graph import SequenceGraph
from core.sequence import SequenceVocabulary
from schemas.models import Variant
from trainer.recommend.data import training_sessions, vocabulary_of
from trainer.recommend.export import graph_bytes
from trainer.recommend.fit import Recipe, SequenceModel, fit
from trainer.recommend.holdout import holdout
from trainer.recommend.model import Shape
from trainer.recommend.student import student_of
from trainer.recommend.variants import (
    INT8,
    PRUNED,
    STUDENT,
    WHOLE,
    forms_of,
    pruned_model,
    quantized,
    ranking_gap,
    table_of,
)

DATA = shop_data(40)
AFTER_MS, REQUESTS = holdout(DATA.interactions, DATA.until_ms, 7)


@pytest.fixture(scope="module")
def model() -> SequenceModel:
    item_ids, titles = vocabulary_of(DATA)
    seen = [one for one in DATA.interactions if one.at_ms <= AFTER_MS]
    recipe = Recipe(shape=Shape(layers=2), epochs=4)
    return fit(training_sessions(seen), SequenceVocabulary(item_ids), titles, recipe)


@pytest.fixture(scope="module")
def table(model: SequenceModel) -> dict[str, Variant]:
    forms = forms_of(model, graph_bytes(model), REQUESTS, seed=1)
    return {each.name: each for each in table_of(forms, model.vocabulary, REQUESTS, seed=1)}


def test_every_form_is_in_the_table_and_the_whole_graph_is_served(
    table: dict[str, Variant],
) -> None:
    assert set(table) == {WHOLE, INT8, PRUNED, STUDENT}
    assert [each.name for each in table.values() if each.chosen] == [WHOLE]
    assert table[WHOLE].loss == 0.0


def test_each_form_is_smaller_than_the_whole_graph(table: dict[str, Variant]) -> None:
    assert all(table[name].size_bytes < table[WHOLE].size_bytes for name in (INT8, PRUNED, STUDENT))
    assert all(each.latency_ms > 0 for each in table.values())


def test_a_form_that_may_lose_too_much_is_refused_with_the_figure(
    model: SequenceModel,
) -> None:
    forms = [f for f in forms_of(model, graph_bytes(model), REQUESTS, 1) if f.name != STUDENT]
    ruined = graph_bytes(pruned_model(model, share=0.999))
    forms = [f if f.name != PRUNED else type(f)(PRUNED, ruined, len(ruined)) for f in forms]
    found = {v.name: v for v in table_of(forms, model.vocabulary, REQUESTS, seed=1)}
    assert not found[PRUNED].passed
    assert "ndcg@10" in found[PRUNED].reason


def test_pruning_sets_half_of_each_matrix_to_zero_and_leaves_the_model_alone(
    model: SequenceModel,
) -> None:
    before = model.network.item_table().detach().clone()
    pruned = pruned_model(model).network
    share = float((pruned.item_table() == 0).float().mean())
    assert 0.45 < share < 0.55
    assert bool((model.network.item_table() == before).all())


def test_the_same_seed_gives_the_same_student(model: SequenceModel) -> None:
    histories = [request.history for request in REQUESTS]
    first, again = (graph_bytes(student_of(model, histories, seed=3)) for _ in range(2))
    assert first == again


def test_eight_bit_answers_are_near_and_repeat(model: SequenceModel) -> None:
    graph = graph_bytes(model)
    small = quantized(graph)
    assert small == quantized(graph)
    tokens = np.stack([model.vocabulary.encode(r.history) for r in REQUESTS[:20]])
    difference = SequenceGraph(small).logits(tokens) - SequenceGraph(graph).logits(tokens)
    assert 0 < float(np.abs(difference).mean()) < 0.2


def test_the_graph_ranks_as_the_network_does(model: SequenceModel) -> None:
    assert ranking_gap(SequenceGraph(graph_bytes(model)), model, REQUESTS) == 0.0
