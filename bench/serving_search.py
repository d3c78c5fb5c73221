"""Searches and texts over HTTP: 1,000 of each by one client, alone and beside recommendations.

The versions are of the size that real ones have: MiniLM (six layers of 384 numbers) twice with the
trainer's own export, in int8 as the trainer serves it where that ranks as well, a blend over all
its columns, and a classifier of 77 labels. Weights of heads and blend are made up: what an answer
costs does not depend on them. Vectors of all but a share of the items are random for the same
reason; how many items a second are embedded is measured on that share.
"""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Mapping
from typing import Any

import numpy as np

from adapters.artefacts import ArtefactStore
from adapters.clock import wall_ms
from adapters.home import artefacts_url, home_of
from adapters.onnx_text import TextGraph
from adapters.signing import load_or_create
from adapters.text_version import (
    HEAD,
    TEXT_GRAPH,
    TOKENIZER,
    VECTOR_GRAPH,
    SearchVersion,
    load_text_version,
)
from adapters.vector_cache import VectorCache
from bench.minilm import minilm
from bench.serving_world import Server, World, run_load, serving, world
from bench.streams_ground import Ground
from core.model_version import digest, identified
from core.search_blend import BlendWeights
from core.search_columns import known_columns
from core.settings import Settings
from schemas import topics
from schemas.codec import encode
from schemas.models import Gate, Manifest, ModelPointer, Probe
from serving.words import VECTORS

SEARCH, TEXTS = "search", "intents"
LABELS = tuple(f"intent-{number}" for number in range(77))
REALLY_EMBEDDED = 1_000
ASKED, WARM_UP = 1_000, 100
BESIDE_A_SECOND = 50.0
VISITORS = 1_000
READY_WITHIN_S = 120.0
SEED = 7


def search_and_classify(found: Ground, items: int = 100_000, asked: int = ASKED) -> dict[str, Any]:
    """Latencies of search and classify in a shop of their own.

    Takes about four minutes at 100,000 items: two of them are the two loads of searches.
    """
    return measured(world(found, "words", items, VISITORS), asked)


def measured(shop: World, asked: int) -> dict[str, Any]:
    """The same in a shop that is there."""
    began_s = time.perf_counter()
    version = _prepare(shop)
    embedded = _fill(shop, version)
    prepared_s = time.perf_counter() - began_s
    queries = queries_of(shop)
    with serving(shop, "serving-words") as server:
        ready_s = _wait(server, len(shop.item_ids))
        search = _load(server, SEARCH, "/v1/search", queries, asked)
        texts = [f"{one}, where is it? My card was charged twice" for one in queries]
        classify = _load(server, "classify", f"/v1/classify/{TEXTS}", texts, asked)
        beside = _beside(shop, server, queries, asked)
        rss_mb = server.rss_mb()
    return {
        "search": {
            **search,
            "beside_recommend": beside,
            "items": len(shop.item_ids),
            "items_embedded_a_second": embedded,
            "form": "int8",
        },
        "classify": classify,
        "prepared_s": round(prepared_s, 1),
        "ready_s": round(ready_s, 1),
        "rss_mb": round(rss_mb),
    }


def _prepare(shop: World) -> SearchVersion:
    """Stores and announces both versions; the search version as serving loads it."""
    found = None
    for task, kind, files in (
        (SEARCH, "search", _search_files()),
        (TEXTS, "classify", _classifier_files()),
    ):
        version = put(shop.settings, task, kind, files)
        pointer = ModelPointer(
            task=task, sequence=1, event_time_ms=wall_ms(), champion=version,
            announced_wall_ms=wall_ms(),
        )  # fmt: skip
        shop.write(topics.MODELS, task, encode(pointer))
        if kind == "search":
            found = loaded(shop.settings, version)
    assert found is not None
    return found


def loaded(settings: Settings, version: str) -> SearchVersion:
    """A stored search version as serving loads it."""
    key = load_or_create(home_of(settings)).public_key()
    found = load_text_version(ArtefactStore(artefacts_url(settings)), SEARCH, version, key)
    assert isinstance(found, SearchVersion)
    return found


def _search_files() -> dict[str, bytes]:
    from trainer.pretrain.encoder import load_encoder
    from trainer.search.export import in_int8, version_files
    from trainer.search.lexical import FIELDS, Bm25Settings
    from trainer.search.model import SearchCard, SearchModel
    from trainer.search.networks import PairModel, VectorModel

    forms = {
        name: Bm25Settings(title_copies=title, body_copies=body)
        for name, (title, body) in FIELDS.items()
    }
    card = SearchCard(
        bm25=forms, best_bm25="title", query_length=12, product_length=24, pair_length=32
    )
    columns = tuple(sorted(known_columns(forms)))  # type: ignore[arg-type]
    ones = (1.0,) * len(columns)
    blend = BlendWeights(columns=columns, weights=ones, centres=(0.0,) * len(columns), scales=ones)
    encoders = (load_encoder(minilm()), load_encoder(minilm()))
    files = version_files(
        SearchModel(VectorModel(encoders[0]), PairModel(encoders[1], SEED), card, blend)
    )
    return {**files, **in_int8(files)}


def _classifier_files() -> dict[str, bytes]:
    import msgspec
    import torch

    from trainer.compress.int8 import int8_graph
    from trainer.finetune.model import HeadCard, TextModel
    from trainer.judge.export import text_graph
    from trainer.pretrain.encoder import load_encoder

    torch.manual_seed(SEED)
    card = HeadCard(kind="classify", labels=LABELS)
    model = TextModel(load_encoder(minilm()), card).eval()
    return {
        TEXT_GRAPH: int8_graph(text_graph(model)),
        TOKENIZER: model.tokenizer.to_str().encode(),
        HEAD: msgspec.json.encode(card),
    }


def put(settings: Settings, task: str, kind: str, files: Mapping[str, bytes]) -> str:
    """Signs and stores the files as a version of a task, and returns the version."""
    from tokenizers import Tokenizer

    from trainer.version import Made, store_signed

    tokenizer = Tokenizer.from_str(files[TOKENIZER].decode())
    tokenizer.no_padding()
    graph = VECTOR_GRAPH if kind == "search" else TEXT_GRAPH
    tokens = [tokenizer.encode(text).ids[:12] for text in ("red mug", "vintage owl clock")]
    rows = [TextGraph(files[graph]).rows([ids])[0] for ids in tokens]
    manifest = identified(
        Manifest(
            task=task, version="", parent=None, retrain_id=f"bench-{task}",
            trained_at_ms=1_700_000_000_000, data_from_ms=0, data_until_ms=1_700_000_000_000,
            offsets={}, rows=0, code_revision="bench", lock_hash="", seed=SEED,
            parameters={"graph": graph}, gate=Gate(passed=True), feature_schema="",
            vocabulary_size=tokenizer.get_vocab_size(), kind=kind,
            files=[digest(name, data) for name, data in sorted(files.items())],
            probe=Probe(histories=tokens, outputs=[row.astype(float).tolist() for row in rows]),
        )
    )  # fmt: skip
    store = ArtefactStore(artefacts_url(settings))
    key = load_or_create(home_of(settings))
    made = store_signed(store, key, Made(manifest, dict(files), manifest.gate, {}))
    return made.manifest.version


def _fill(shop: World, version: SearchVersion) -> float:
    """Keeps a vector of every item where serving looks for it; items a second of the real ones."""
    folder = home_of(shop.settings) / "serving" / VECTORS
    cache = VectorCache(folder, version.version, "bench", version.width)
    real, rest = shop.titles[:REALLY_EMBEDDED], shop.titles[REALLY_EMBEDDED:]
    began_s = time.perf_counter()
    for start in range(0, len(real), 64):
        some = real[start : start + 64]
        cache.put(some, version.product_vectors(some))
    took_s = time.perf_counter() - began_s
    drawn = np.random.default_rng(SEED).normal(size=(len(rest), version.width))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    cache.put(rest, drawn.astype(np.float32))
    return round(len(real) / took_s, 1)


def queries_of(shop: World, count: int = 300) -> list[str]:
    """Two to four words of a title; in one of five a letter is missing."""
    random = np.random.default_rng(SEED)
    found = []
    for title in random.choice(np.array(shop.titles), count):
        said = str(title).rsplit(" no ", 1)[0].split()[: int(random.integers(2, 5))]
        if random.random() < 0.2:
            place = int(random.integers(len(said)))
            said[place] = said[place][:2] + said[place][3:]
        found.append(" ".join(said))
    return found


def _wait(server: Server, items: int) -> float:
    """Seconds until all can be found by words and by vectors, under the versions announced."""
    began_s = time.perf_counter()
    wanted = {"search_items": items, "search_vectors_ratio": 1.0, "text_versions": 2.0}
    while time.perf_counter() - began_s < READY_WITHIN_S:
        figures = figures_of(server)
        if all(figures.get(f"shoploop_serving_{name}") == one for name, one in wanted.items()):
            return time.perf_counter() - began_s
        time.sleep(0.2)
    raise RuntimeError(f"not ready for searches within {READY_WITHIN_S:.0f} s: {figures}")


def figures_of(server: Server) -> dict[str, float]:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=5) as reply:
        lines = reply.read().decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if line and not line.startswith("#")]
    return {name: float(value) for name, value in pairs}


def _load(server: Server, kind: str, path: str, texts: list[str], asked: int) -> dict[str, Any]:
    found = run_load(
        {"port": server.port, "kind": kind, "path": path, "texts": texts, "n": asked,
         "warm_up": WARM_UP, "visitors": VISITORS}
    )  # fmt: skip
    return {name: found[name] for name in ("p50_ms", "p99_ms", "statuses", "degraded")}


def _beside(shop: World, server: Server, queries: list[str], asked: int) -> dict[str, Any]:
    """The same searches while another client asks for recommendations at a steady rate."""
    others: list[dict[str, Any]] = []
    load = {"port": server.port, "connections": 4, "rate": BESIDE_A_SECOND, "seed": 2,
            "seconds": asked * 0.05, "visitors": len(shop.visitors)}  # fmt: skip
    thread = threading.Thread(target=lambda: others.append(run_load(load)))
    thread.start()
    found = _load(server, SEARCH, "/v1/search", queries, asked)
    thread.join()
    recommend = {name: others[0][name] for name in ("p50_ms", "p99_ms", "rps")}
    return {**found, "recommend": recommend}
