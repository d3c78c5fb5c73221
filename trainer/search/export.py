"""The files of a search version: both graphs, the tokenizer, the card and the blend."""

from __future__ import annotations

import msgspec

from trainer.compress.int8 import int8_graph
from trainer.judge.export import text_graph
from trainer.search.model import BLEND, SearchModel
from trainer.search.published import CARD, GRAPHS, PAIR_GRAPH, TOKENIZER, VECTOR_GRAPH


def version_files(model: SearchModel) -> dict[str, bytes]:
    """The files by name; one tokenizer serves both graphs, as both come from one encoder."""
    return {
        VECTOR_GRAPH: text_graph(model.vectors, "vectors"),
        PAIR_GRAPH: text_graph(model.pairs, "logits"),
        TOKENIZER: model.vectors.encoder.tokenizer.to_str().encode(),
        CARD: msgspec.json.format(msgspec.json.encode(model.card)),
        BLEND: msgspec.json.format(msgspec.json.encode(model.blend)),
    }


def in_int8(files: dict[str, bytes]) -> dict[str, bytes]:
    """Both graphs with their matrices in int8, a scale per channel."""
    return {name: int8_graph(files[name]) for name in GRAPHS}
