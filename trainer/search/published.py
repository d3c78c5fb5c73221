"""What a search version holds beside its model's own files, and the queries of its probe.

Needs no torch, so that a version can be put together without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
from tokenizers import Tokenizer

from trainer.corpus.examples import Corpus
from trainer.search.judged import clean_text

VECTOR_GRAPH, PAIR_GRAPH, TOKENIZER = "vectors.onnx", "pairs.onnx", "tokenizer.json"
GRAPHS = (VECTOR_GRAPH, PAIR_GRAPH)
CARD = "search.json"


class _Lengths(msgspec.Struct):
    """What of search.json a query's tokens need."""

    query_length: int


def served_files(judged: Path) -> Iterator[tuple[str, bytes]]:
    """Both graphs in the form that the gate chose, and the tokenizer they read with."""
    for name in (*GRAPHS, TOKENIZER):
        yield name, (judged / name).read_bytes()


def probed_queries(judged: Path, corpus: Corpus, count: int) -> list[list[int]]:
    """Token ids of a few queries, each as the vector graph reads it when it serves."""
    rows = corpus.test or corpus.valid or corpus.train
    queries = list(dict.fromkeys(clean_text(one.text).lower() for one in rows))[:count]
    lengths = msgspec.json.decode((judged / CARD).read_bytes(), type=_Lengths)
    tokenizer = Tokenizer.from_file(str(judged / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.enable_truncation(lengths.query_length)
    return [one.ids for one in tokenizer.encode_batch(queries)]
