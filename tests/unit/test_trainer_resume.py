"""A killed fit goes on where it stood, several processes fit as one, rows can be changed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from shop_factory import shop_data
from torch import distributed

from core.sequence import SequenceVocabulary
from local.child import free_ports
from trainer.recommend.adamw import AdamW
from trainer.recommend.augment import Augment, augmented
from trainer.recommend.data import training_sessions, vocabulary_of
from trainer.recommend.export import graph_bytes
from trainer.recommend.fit import Also, Recipe, SequenceModel, fit
from trainer.recommend.model import Shape
from trainer.recommend.ranks import my_share
from trainer.recommend.stopping import Stopping, without_tail
from trainer.recommend.windows import VisitorSessions, draw_windows, flatten

DATA = shop_data(20)
RECIPE = Recipe(shape=Shape(width=16), epochs=4, averaged=0.9)
WITHIN_S = 120.0


def fitted(recipe: Recipe = RECIPE, keep: Path | None = None) -> SequenceModel:
    item_ids, titles = vocabulary_of(DATA)
    sessions = training_sessions(DATA.interactions)
    return fit(sessions, SequenceVocabulary(item_ids), titles, recipe, also=Also(keep))


def one_rank(rank: int, port: int, folder: str) -> None:
    """One of two processes that fit together."""
    address = f"tcp://127.0.0.1:{port}"
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    model = fitted(replace(RECIPE, epochs=1))
    Path(folder, f"{rank}.onnx").write_bytes(graph_bytes(model))
    distributed.destroy_process_group()


def started(target: object, *arguments: object) -> multiprocessing.Process:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=target, args=arguments)  # type: ignore[arg-type]
    process.start()
    return process  # type: ignore[return-value]


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_killed_fit_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=40)
    whole = graph_bytes(fitted(recipe))
    keep = tmp_path / "fit.safetensors"
    process = started(fitted, recipe, keep)
    try:
        wait_for(keep)
    finally:
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join(WITHIN_S)
    assert process.exitcode == -signal.SIGKILL
    again = fitted(recipe, keep)
    assert len(again.losses) == 40
    assert graph_bytes(again) == whole


def test_a_fit_goes_on_from_its_last_epoch_and_from_no_other_fits(tmp_path: Path) -> None:
    keep = tmp_path / "fit.safetensors"
    first = fitted(keep=keep)
    moments = keep.stat().st_mtime_ns
    assert fitted(keep=keep).losses == first.losses
    assert keep.stat().st_mtime_ns == moments  # nothing was left to do
    other = fitted(replace(RECIPE, seed=1), keep)
    assert other.losses == fitted(replace(RECIPE, seed=1)).losses


def test_a_fit_without_gain_on_its_tail_ends_early_with_its_best_weights(tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=60, averaged=0.0, patience=2, learning_rate=2e-2)
    keep = tmp_path / "fit.safetensors"
    model = fitted(recipe, keep)
    assert 3 <= len(model.losses) < 60
    assert graph_bytes(model) != graph_bytes(fitted(replace(recipe, patience=0)))
    assert graph_bytes(fitted(recipe, keep)) == graph_bytes(model)


def test_a_tail_is_the_newest_session_of_some_and_is_not_learned() -> None:
    visitors = [VisitorSessions((("a",), ("b",), ("c",)), fresh_from=1)] * 200
    learned, tail = without_tail(visitors, 1, seed=3)
    assert 5 < len(tail) < 40
    assert {one.fresh_from for one in tail} == {2}
    assert sum(one.sessions == (("a",), ("b",)) for one in learned) == len(tail)
    assert without_tail(visitors, 0, seed=3) == (visitors, [])


def test_a_tie_on_the_tail_goes_to_the_later_epoch_and_is_a_gain() -> None:
    stopping = Stopping(1)
    for epoch, loss in enumerate([2.0, 1.0, 1.0]):
        stopping.take(loss, torch.full((1,), float(epoch)))
    assert not stopping.enough
    assert stopping.best is not None
    assert float(stopping.best) == 2.0
    stopping.take(1.5, torch.zeros(1))
    assert stopping.enough
    assert float(stopping.best) == 2.0


def test_a_damaged_checkpoint_counts_for_nothing(tmp_path: Path) -> None:
    keep = tmp_path / "fit.safetensors"
    keep.write_bytes(b"torn")
    assert fitted(keep=keep).losses == fitted().losses


def test_two_processes_end_with_one_network(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    both = [started(one_rank, rank, port, str(tmp_path)) for rank in range(2)]
    for process in both:
        process.join(WITHIN_S)
    assert [process.exitcode for process in both] == [0, 0]
    first, second = ((tmp_path / f"{rank}.onnx").read_bytes() for rank in range(2))
    assert first == second
    assert first != graph_bytes(fitted(replace(RECIPE, epochs=1)))  # each step saw two batches


def test_every_process_takes_equally_many_batches() -> None:
    shares = [my_share(list(range(7)), rank, 3) for rank in range(3)]
    assert shares == [[0, 3], [1, 4], [2, 5]]


def test_an_average_of_the_weights_lies_between_where_they_were() -> None:
    value = torch.nn.Parameter(torch.zeros(1))
    optimizer = AdamW([value], averaged=0.9)
    for _ in range(5):
        (-value).sum().backward()
        optimizer.step(0.1)
    newest = float(value.detach())
    optimizer.use_average()
    assert 0.0 < float(value.detach()) < newest


def test_decay_pulls_weights_to_zero() -> None:
    value = torch.nn.Parameter(torch.ones(1))
    AdamW([value], decay=0.5).step(0.1)
    assert float(value.detach()) == pytest.approx(0.95)


@pytest.mark.parametrize(
    "how", [Augment(crop=1.0), Augment(hide=0.5), Augment(reorder=1.0)], ids=str
)
def test_no_change_of_a_row_shows_a_place_its_own_answer(how: Augment) -> None:
    item_ids, _ = vocabulary_of(DATA)
    flat = flatten(training_sessions(DATA.interactions), SequenceVocabulary(item_ids))
    plain = draw_windows(flat, np.random.default_rng(1), 0.5)
    changed = augmented(plain, np.random.default_rng(2), how)
    assert (changed.tokens != plain.tokens).any()
    assert bool((changed.weights[changed.tokens == 0] == 0).all())
    for row, place in np.argwhere(changed.weights > 0)[:200]:
        seen = sorted(changed.tokens[row, : place + 1])
        assert set(seen) <= {0, *plain.tokens[row, : place + 1]}


def test_without_changes_rows_stay_and_nothing_is_drawn() -> None:
    random = np.random.default_rng(3)
    state = random.bit_generator.state
    item_ids, _ = vocabulary_of(DATA)
    flat = flatten(training_sessions(DATA.interactions), SequenceVocabulary(item_ids))
    plain = draw_windows(flat, np.random.default_rng(1), 0.5)
    assert augmented(plain, random, Augment()) is plain
    assert random.bit_generator.state == state
