"""The sequence model learns, repeats itself for a seed, and scores items from their text."""

import numpy as np
import torch

from core.sequence import HISTORY_LENGTH, SequenceVocabulary
from trainer.recommend.adamw import AdamW
from trainer.recommend.cross_entropy import CrossEntropy
from trainer.recommend.fit import Recipe, SequenceModel, fit
from trainer.recommend.model import Dropout, looked_up
from trainer.recommend.windows import VisitorSessions, draw_windows, flatten

_ITEMS = [f"{colour}{n}" for colour in ("red", "blue") for n in range(6)]
_TITLES = [f"{item[:-1].upper()} PLATE {item[-1]}" for item in _ITEMS]
_RECIPE = Recipe(epochs=30, threads=1, learning_rate=1e-2)


def _visitors() -> list[VisitorSessions]:
    """Half the visitors buy red things only, half blue."""
    random = np.random.default_rng(3)
    visitors = []
    for n in range(60):
        mine = _ITEMS[:6] if n % 2 else _ITEMS[6:]
        drawn = random.permutation(mine).tolist()
        visitors.append(VisitorSessions((tuple(drawn[:2]), tuple(drawn[2:4]))))
    return visitors


def _model(seed: int = 0) -> SequenceModel:
    recipe = Recipe(epochs=30, threads=1, learning_rate=1e-2, seed=seed)
    return fit(_visitors(), SequenceVocabulary(_ITEMS), _TITLES, recipe)


def test_it_learns_who_buys_what_and_gives_log_probabilities() -> None:
    scores = _model().log_probs([["red0", "red1"], ["blue0"]])
    assert scores.shape == (2, len(_ITEMS))
    assert scores.dtype == np.float32
    assert np.allclose(np.exp(scores).sum(axis=1), 1.0, atol=1e-5)
    assert np.exp(scores[0, :6]).sum() > 0.8
    assert np.exp(scores[1, 6:]).sum() > 0.8


def test_the_same_seed_gives_the_same_model() -> None:
    first, second, other = _model(), _model(), _model(seed=1)
    assert np.array_equal(first.log_probs([["red0"]]), second.log_probs([["red0"]]))
    assert not np.array_equal(first.log_probs([["red0"]]), other.log_probs([["red0"]]))


def test_an_item_unknown_to_the_parent_is_scored_from_its_text() -> None:
    parent = _model().as_parent()
    items, titles = [*_ITEMS, "red9", "blue9"], [*_TITLES, "RED PLATE 9", "BLUE PLATE 9"]
    untrained = Recipe(epochs=0, threads=1)
    child = fit(_visitors(), SequenceVocabulary(items), titles, untrained, parent)
    scores = child.log_probs([["red0", "red1"]])[0]
    assert scores[-2] > scores[-1] + 0.3


def test_the_served_module_scores_as_the_trained_network() -> None:
    model = _model()
    tokens = torch.from_numpy(model.vocabulary.encode(["red0", "blue1"])[None])
    table = model.network.item_table()
    last = model.network.hidden(tokens, table)[:, -1]
    logits = torch.log_softmax(last @ table.T + model.network.item_bias, dim=-1)
    assert torch.allclose(model.served()(tokens), logits, atol=1e-6)


def test_padding_in_front_does_not_change_the_score() -> None:
    model = _model()
    tokens = torch.from_numpy(model.vocabulary.encode(["red0", "blue1"])[None])
    served = model.served()
    assert torch.allclose(served(tokens), served(tokens[:, -2:]), atol=1e-5)


def test_targets_come_from_the_rest_of_the_session_or_the_next_and_only_fresh_ones() -> None:
    vocabulary = SequenceVocabulary(["a", "b", "c", "d"])
    visitor = VisitorSessions((("a",), ("b",), ("c",), ("d",)), fresh_from=2)
    windows = draw_windows(flatten([visitor], vocabulary), np.random.default_rng(0), 0.5)
    assert windows.tokens.shape == (1, HISTORY_LENGTH)
    assert windows.weights[0, -4:].tolist() == [0.0, 1.0, 1.0, 0.0]
    assert set(windows.targets[0, -3]) == {2}
    assert set(windows.targets[0, -2]) == {3}


def test_the_cross_entropy_in_place_is_the_plain_one_with_its_gradients() -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(size, requires_grad=True) for size in ((20, 8), (50, 8), (50,))]
    hidden, rows, bias = inputs
    targets, weights = torch.randint(50, (20, 4)), torch.rand(20)
    logits = hidden @ rows.T + bias
    plain = torch.logsumexp(logits, dim=1) - logits.gather(1, targets).mean(dim=1)
    expected = torch.autograd.grad((plain * weights).sum(), inputs)
    losses = CrossEntropy.apply(hidden, rows, bias, targets)
    assert torch.allclose(losses, plain, atol=1e-5)
    for one, other in zip(
        torch.autograd.grad((losses * weights).sum(), inputs), expected, strict=True
    ):
        assert torch.allclose(one, other, atol=1e-5)


def test_adamw_steps_as_torchs_own_does() -> None:
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(size)) for size in ((3, 4), (5,))]
    theirs = [torch.nn.Parameter(one.detach().clone()) for one in ours]
    optimizer, reference = AdamW(ours), torch.optim.AdamW(theirs, lr=0.01, weight_decay=0.01)
    for scale in (0.1, 5.0, 1.0):
        for parameters in (ours, theirs):
            sum((one**2).sum() * scale for one in parameters).backward()
        optimizer.step(0.01)
        torch.nn.utils.clip_grad_norm_(theirs, 1.0)
        reference.step()
        reference.zero_grad()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_only_the_last_place_or_only_used_places_give_what_all_places_give() -> None:
    model = _model()
    tokens = torch.from_numpy(np.stack([model.vocabulary.encode(["red0", "blue1", "red2"])] * 2))
    table = model.network.item_table()
    every = model.network.hidden(tokens, table)
    assert torch.allclose(
        model.network.newest(tokens, looked_up(tokens, table)), every[:, -1], atol=1e-6
    )
    used = tokens == tokens[0, -2]
    assert torch.allclose(model.network.hidden(tokens, table, used), every[used], atol=1e-6)


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    dropout, ones = Dropout(0.2), torch.ones(333, 301)
    dropped = dropout(ones)
    assert abs(float((dropped == 0).float().mean()) - 0.2) < 0.01
    assert abs(float(dropped.mean()) - 1.0) < 0.01
    assert torch.equal(dropout.eval()(ones), ones)
