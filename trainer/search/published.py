"""What a search version holds beside its model's own files, and the texts of its probes.

Needs no torch, so that a version can be put together without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
from tokenizers import Tokenizer

from trainer.corpus.examples import Corpus
from trainer.search.judged import clean_text, product

VECTOR_GRAPH, PAIR_GRAPH, TOKENIZER = "vectors.onnx", "pairs.onnx", "tokenizer.json"
GRAPHS = (VECTOR_GRAPH, PAIR_GRAPH)
CARD = "search.json"


class _Lengths(msgspec.Struct):
    """What of search.json the tokens of queries and pairs need."""

    query_length: int
    pair_length: int


def served_files(judged: Path) -> Iterator[tuple[str, bytes]]:
    """Both graphs in the form that the gate chose, and the tokenizer they read with."""
    for name in (*GRAPHS, TOKENIZER):
        yield name, (judged / name).read_bytes()


def probed_queries(judged: Path, corpus: Corpus, count: int) -> list[list[int]]:
    """Token ids of a few queries, each as the vector graph reads it when it serves."""
    rows = corpus.test or corpus.valid or corpus.train
    queries = list(dict.fromkeys(clean_text(one.text).lower() for one in rows))[:count]
    tokenizer = _tokenizer(judged, _lengths(judged).query_length)
    return [one.ids for one in tokenizer.encode_batch(queries)]


def probed_pairs(judged: Path, corpus: Corpus, count: int) -> list[list[int]]:
    """Token ids of a few queries with a product's title, as the pair graph reads them."""
    rows = (corpus.test or corpus.valid or corpus.train)[:count]
    tokenizer = _tokenizer(judged, _lengths(judged).pair_length)
    pairs = [(clean_text(one.text).lower(), product(one.pair)[0]) for one in rows]
    return [one.ids for one in tokenizer.encode_batch(pairs)]


def _lengths(judged: Path) -> _Lengths:
    return msgspec.json.decode((judged / CARD).read_bytes(), type=_Lengths)


def _tokenizer(judged: Path, length: int) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(judged / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)
    return tokenizer
