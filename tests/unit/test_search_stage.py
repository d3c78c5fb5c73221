"""The search stage from judged pairs to files: on a small shop and a small network."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from adapters.artefacts import ArtefactStore
from adapters.home import artefacts_url
from adapters.onnx_text import TextGraph
from adapters.signing import load_or_create
from adapters.text_probe import text_probe_difference
from adapters.version_files import load_manifest
from console.train_here import chosen
from core.settings import Settings
from schemas.errors import BadSettings
from schemas.models import Retrain
from trainer.corpus.examples import Corpus, Example
from trainer.pretrain.encoder import Encoder, save_encoder
from trainer.run_dir import RunDir
from trainer.search.blend_fit import fit_blend
from trainer.search.judge import judge_search
from trainer.search.judged import clean_text, judged, product
from trainer.search.lexical import Bm25Settings, bm25_scores, words_of
from trainer.search.model import CARD, blended, lexical_scores, load_search
from trainer.search.negatives import with_negatives
from trainer.search.settings import SearchSettings
from trainer.search.stage import divided, fit_search
from trainer.stages import Stages
from trainer.task import Task
from trainer.task_files import find_task
from trainer.text_run import TextRun
from trainer.work import Work

FILE = """
task = "shop"
kind = "search"
[data]
files = ["rows.jsonl"]
columns = {{ text = "text", pair = "pair", value = "value" }}
split = "random"
[data.clean]
near_duplicates = 0
[pretrain]
objective = "none"
start = "{start}"
[search]
precision = "float32"
group = 3
pair_epochs = 1
"""
COLOURS = ("red", "blue", "green", "black", "white", "yellow", "brown", "grey")
THINGS = ("cup", "shoe", "lamp", "chair", "bag", "clock")


def pairs(queries: range) -> list[Example]:
    """Queries `colour thing`: the right product, one of another colour, and another thing."""
    found = []
    for i in queries:
        colour, thing = COLOURS[i % len(COLOURS)], THINGS[i % len(THINGS)]
        other, strange = COLOURS[(i + 1) % len(COLOURS)], THINGS[(i + 1) % len(THINGS)]
        offers = ((colour, thing, 4.0), (other, thing, 2.0), (other, strange, 1.0))
        for place, (tint, kind, value) in enumerate(offers):
            found.append(
                Example(
                    example_id=f"{i}-{place}",
                    text=f"{colour} {thing}",
                    pair=f"{tint} {kind}\nA fine {kind} in {tint}.",
                    value=value,
                )
            )
    return found


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(train=pairs(range(16)), valid=pairs(range(16, 20)), test=pairs(range(20, 24)))


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BertConfig, BertModel

    torch.manual_seed(1)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *COLOURS, *THINGS]
    vocabulary = {word: place for place, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("encoder")
    save_encoder(Encoder(BertModel(config, add_pooling_layer=False), tokenizer), folder)
    return folder


@pytest.fixture(scope="module")
def task() -> Task:
    search = SearchSettings(precision="float32", group=3, hard_negatives=1, pair_epochs=1)
    return Task(task="search", kind="search", search=search)


@pytest.fixture(scope="module")
def fitted(
    task: Task, corpus: Corpus, encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("model")
    figures = fit_search(task, corpus, encoder_folder, folder)
    assert figures["fitted_blend_ndcg10"] > 0.8
    return folder


def test_the_same_data_and_seed_give_the_same_files(
    task: Task, corpus: Corpus, encoder_folder: Path, fitted: Path, tmp_path: Path
) -> None:
    fit_search(task, corpus, encoder_folder, tmp_path)
    for one in sorted(fitted.rglob("*")):
        if one.is_file():
            assert (tmp_path / one.relative_to(fitted)).read_bytes() == one.read_bytes(), one.name


def test_grades_of_the_test_part_change_nothing(
    task: Task, corpus: Corpus, encoder_folder: Path, fitted: Path, tmp_path: Path
) -> None:
    turned = [msgspec.structs.replace(one, value=5.0 - (one.value or 0.0)) for one in corpus.test]
    fit_search(task, msgspec.structs.replace(corpus, test=turned), encoder_folder, tmp_path)
    for name in (CARD, "blend.json", "pairs/head.safetensors", "vectors/model.safetensors"):
        assert (tmp_path / name).read_bytes() == (fitted / name).read_bytes(), name


def test_a_loaded_model_says_what_the_fitted_one_said(fitted: Path, corpus: Corpus) -> None:
    rows = judged(corpus.train, corpus.valid, corpus.test)
    model = load_search(fitted)
    scores = lexical_scores(rows, words_of(rows), model.card)
    scores |= {"dense": np.zeros(len(rows)), "cross": np.zeros(len(rows))}
    assert blended(scores, model.blend).shape == (len(rows),)


def test_the_blend_is_learned_on_queries_that_no_network_is_fitted_on(corpus: Corpus) -> None:
    rows = judged(corpus.train, corpus.valid, corpus.test)
    networks, blend = divided(rows, 0.25, seed=3)
    assert not set(networks) & set(blend)
    assert set(rows.part_of[networks]) == {0}
    assert set(rows.part_of[blend]) == {0, 1}


def test_a_hard_negative_is_never_a_product_that_was_judged(corpus: Corpus) -> None:
    rows = judged(corpus.train, corpus.valid, corpus.test)
    queries = np.flatnonzero(rows.part_of == 0)
    settings = SearchSettings(hard_negatives=2)
    more = with_negatives(rows, queries, (words_of(rows), Bm25Settings()), settings, seed=1)
    before = rows.of_queries(queries)
    known = {(before.query_of[i], before.titles[i]) for i in range(len(before))}
    added = range(len(before), len(more))
    assert len(added)
    assert all((more.query_of[i], more.titles[i]) not in known for i in added)
    assert all(more.grades[i] == 0.0 for i in added)
    assert all(more.weights[i] == settings.negative_weight for i in added)


def test_bm25_puts_the_product_with_all_words_first(corpus: Corpus) -> None:
    rows = judged(corpus.train)
    scores = bm25_scores(rows, words_of(rows).documents(Bm25Settings()), Bm25Settings())
    for at in rows.by_query():
        assert rows.grades[at[np.argmax(scores[at])]] == rows.grades[at].max()


def test_the_blend_follows_the_score_that_orders_well(corpus: Corpus) -> None:
    rows = judged(corpus.train)
    noise = np.random.default_rng(1).normal(size=len(rows))
    everything = np.arange(len(rows.queries))
    blend = fit_blend(rows, {"good": rows.grades, "noise": noise}, everything, l2=1.0)
    assert blend.weights[0] > 5 * abs(blend.weights[1])


def test_grades_count_from_the_lowest_of_training() -> None:
    train = [Example(example_id="1", text="q", pair="a", value=2.0)]
    test = [Example(example_id="2", text="q", pair="b", value=1.0)]
    rows = judged(train, test)
    assert rows.grades.tolist() == [0.0, 0.0]
    assert rows.part_of.tolist() == [0, 1]


def test_text_is_cleaned_once_and_for_all() -> None:
    dirty = "<style>p{color:red}</style>180\u00c2\u00b0 flip &amp; turn <br/>now"
    assert clean_text(dirty) == "180° flip & turn now"
    assert clean_text(clean_text(dirty)) == clean_text(dirty)
    assert product("Cup") == ("Cup", "")


def test_the_gate_says_what_the_served_graphs_reach_beside_bm25(
    task: Task, corpus: Corpus, fitted: Path, tmp_path: Path
) -> None:
    report = judge_search(task, corpus, fitted, fitted, tmp_path)
    checks = {check.name: check for check in report.checks}
    assert checks["graph_ndcg10_difference"].passed
    assert checks["ndcg10_vs_bm25"].n == 4
    assert not report.gate.passed, "four queries are too few to say anything"
    assert report.rivals["champion"]["ndcg10"] == pytest.approx(
        report.rivals["whole_graphs"]["ndcg10"], abs=1e-6
    )
    assert {"vectors.onnx", "pairs.onnx", "tokenizer.json", "blend.json", "search.json"} <= {
        one.name for one in tmp_path.iterdir()
    }


def test_int8_graphs_are_served_only_where_they_rank_as_well(
    task: Task, corpus: Corpus, fitted: Path, tmp_path: Path
) -> None:
    report = judge_search(task, corpus, fitted, None, tmp_path)
    # Four queries cannot show that int8 ranks as well, so the whole graphs are served.
    assert report.figures["int8_served"] == 0.0
    assert report.figures["size_bytes"] == sum(one.stat().st_size for one in _files(tmp_path))


def test_a_search_task_runs_from_its_file_to_the_judge(
    corpus: Corpus, encoder_folder: Path, tmp_path: Path
) -> None:
    shop(corpus, encoder_folder, tmp_path)
    settings = Settings(home=str(tmp_path))
    run = TextRun(find_task(settings, "shop"), RunDir(tmp_path / "run"), settings)
    run.stages(chosen(None, "search", publish=False), (), Stages("test", show=False))
    record = run.run.record("judge")
    assert record is not None
    assert {"ndcg10", "gate_passed", "int8_served"} <= set(record.figures)
    assert (run.run.judged / "pairs.onnx").is_file()
    assert chosen(None, "search", publish=True)[-2:] == ("judge", "publish")
    one = msgspec.json.decode((run.run.corpus / "test.jsonl").read_bytes().splitlines()[0])
    assert one["pair"].splitlines()[1].startswith("A fine ")
    with pytest.raises(BadSettings, match="has no stage compress"):
        run.stages(("compress",), (), Stages("test", show=False))


def test_a_retrain_of_a_search_task_ends_in_a_signed_version_that_answers_its_probe(
    corpus: Corpus, encoder_folder: Path, tmp_path: Path
) -> None:
    work, store, key = shop(corpus, encoder_folder, tmp_path)
    offer = work.answer(asked("r1"))
    assert (offer.failed, offer.judged_against) == (None, None)
    version = str(offer.model_version)
    manifest = load_manifest(store, "shop", version, key.public_key())
    assert (manifest.kind, manifest.parameters["graph"]) == ("search", "vectors.onnx")
    assert manifest.card
    assert manifest.metrics["ndcg10"] > 0.0
    assert [(one.name, one.chosen) for one in manifest.variants] == [
        ("fp32", True),
        ("int8", False),
    ]
    names = {one.path for one in manifest.files}
    assert {"vectors.onnx", "pairs.onnx", "tokenizer.json", "blend.json", "search.json"} <= names
    said = TextGraph(store.get("shop", version, "vectors.onnx")).rows(manifest.probe.histories)
    expected = np.asarray(manifest.probe.outputs)
    assert np.abs(said - expected).max() <= manifest.probe.tolerance
    (probe,) = manifest.probes.values()
    pairs = TextGraph(store.get("shop", version, "pairs.onnx"))
    assert list(manifest.probes) == ["pairs.onnx"]
    assert text_probe_difference(pairs, probe) <= probe.tolerance < 0.05

    elsewhere, _, _ = shop(corpus, encoder_folder, tmp_path / "elsewhere")
    assert elsewhere.answer(asked("r1")).model_version == version

    # The next one is judged against it, by the files of the version alone.
    later = work.answer(asked("r2", parent=version, search="concept drift"))
    assert (later.failed, later.judged_against) == (None, version)
    assert any(check.name == "ndcg10_vs_champion" for check in later.gate.checks)


def shop(
    corpus: Corpus, encoder_folder: Path, home: Path
) -> tuple[Work, ArtefactStore, Ed25519PrivateKey]:
    """A trainer with a search task in its folder of tasks."""
    settings = Settings(home=str(home))
    rows = [one for part in (corpus.train, corpus.valid, corpus.test) for one in part]
    (home / "tasks").mkdir(parents=True)
    (home / "tasks" / "rows.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(rows))
    (home / "tasks" / "shop.toml").write_text(FILE.format(start=encoder_folder))
    store, key = ArtefactStore(artefacts_url(settings)), load_or_create(home)
    return Work(settings, store, key, show_bar=False), store, key


def asked(retrain_id: str, parent: str | None = None, search: str = "") -> Retrain:
    return Retrain(
        retrain_id=retrain_id, task="shop", state="accepted", kind="manual", reason="test",
        event_time_ms=1_300_000_000_000, data_until_ms=1_300_000_000_000,
        parent_version=parent, search=search,
    )  # fmt: skip


def _files(folder: Path) -> list[Path]:
    told = ("report.", "pareto.")
    return [one for one in folder.iterdir() if not one.name.startswith(told)]
