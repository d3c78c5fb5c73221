"""A search model as fitted: two networks, the BM25 it goes with, and the blend of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from core.search_blend import BlendWeights, linear_blend
from schemas.errors import BadSettings
from trainer.search.judged import Floats, Judged
from trainer.search.lexical import Bm25Settings, Words, bm25_scores, overlaps
from trainer.search.networks import (
    PairModel,
    Precision,
    VectorModel,
    load_pairs,
    load_vectors,
    pair_logits,
    vectors,
)
from trainer.search.published import CARD

VECTORS, PAIRS, BLEND = "vectors", "pairs", "blend.json"
DENSE, CROSS = "dense", "cross"


class SearchCard(msgspec.Struct, frozen=True, kw_only=True):
    """How the networks read texts, and each BM25 field's parameters; kept as `search.json`."""

    bm25: dict[str, Bm25Settings]
    best_bm25: str
    query_length: int
    product_length: int
    pair_length: int
    lowest: float = 0.0
    highest: float = 1.0


@dataclass(frozen=True)
class SearchModel:
    """Everything that turns a query and products into an order."""

    vectors: VectorModel
    pairs: PairModel
    card: SearchCard
    blend: BlendWeights

    def save(self, folder: Path) -> None:
        """Writes a folder for each network, and the card and the blend as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        self.vectors.save(folder / VECTORS)
        self.pairs.save(folder / PAIRS)
        (folder / CARD).write_bytes(msgspec.json.format(msgspec.json.encode(self.card)))
        (folder / BLEND).write_bytes(msgspec.json.format(msgspec.json.encode(self.blend)))


def load_search(folder: Path) -> SearchModel:
    """What `SearchModel.save` wrote.

    Raises:
        BadSettings: a file is missing or does not decode.
    """
    try:
        card = msgspec.json.decode((folder / CARD).read_bytes(), type=SearchCard)
        blend = msgspec.json.decode((folder / BLEND).read_bytes(), type=BlendWeights)
    except (OSError, msgspec.MsgspecError) as error:
        raise BadSettings(f"{folder} holds no search model: {error}") from error
    return SearchModel(load_vectors(folder / VECTORS), load_pairs(folder / PAIRS), card, blend)


def lexical_scores(judged: Judged, words: Words, card: SearchCard) -> dict[str, Floats]:
    """BM25 of each field and the overlaps, by row; the index is over the products of all rows."""
    fields = {
        f"bm25_{name}": bm25_scores(judged, words.documents(one), one)
        for name, one in card.bm25.items()
    }
    return {**fields, **overlaps(judged, words)}


def dense_scores(
    model: VectorModel, judged: Judged, card: SearchCard, precision: Precision = "float32"
) -> Floats:
    """Cosine of query and title by row."""
    spoken = vectors(model, judged.queries, card.query_length, precision)
    offered = vectors(model, judged.titles, card.product_length, precision)
    return np.asarray((spoken[judged.query_of] * offered).sum(axis=1), dtype=np.float64)


def cross_scores(
    model: PairModel, judged: Judged, card: SearchCard, precision: Precision = "float32"
) -> Floats:
    """The cross-encoder's logit by row."""
    queries = [judged.queries[q] for q in judged.query_of]
    return pair_logits(model, queries, judged.titles, card.pair_length, precision)


def blended(scores: Mapping[str, Floats], blend: BlendWeights) -> Floats:
    """The blend of the columns it names, by row."""
    return linear_blend(np.stack([scores[name] for name in blend.columns], axis=1), blend)
