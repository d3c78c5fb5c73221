"""Whether the graphs of a text version answer as the trainer saw them answer.

It knows graphs and probes, and nothing of files, signatures or kinds of task.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from adapters.onnx import GRAPH_ERRORS
from adapters.onnx_text import TextGraph
from schemas.errors import RejectedModel
from schemas.models import Manifest, Probe

_T = TypeVar("_T")


def text_probe_difference(graph: TextGraph, probe: Probe) -> float:
    """The largest absolute difference to the expected answers; infinite when shapes differ.

    Each text is read alone, as when the answers were taken.
    """
    if not probe.histories or len(probe.histories) != len(probe.outputs):
        return float("inf")
    worst = 0.0
    for tokens, expected in zip(probe.histories, probe.outputs, strict=True):
        answer = graph.rows([tokens])[0]
        if len(answer) != len(expected):
            return float("inf")
        difference = float(np.abs(answer - np.asarray(expected, np.float32)).max(initial=0.0))
        worst = max(worst, difference) if math.isfinite(difference) else float("inf")
    return worst


def check_probe(graph: TextGraph, probe: Probe, name: str) -> None:
    """Raises RejectedModel when the graph of this name answers otherwise than expected."""
    difference = answering(lambda: text_probe_difference(graph, probe), name)
    if difference > probe.tolerance:
        raise RejectedModel(
            "wrong_answers",
            f"{name} answers its probe {difference:.2g} off, at most {probe.tolerance:.2g}",
        )


def check_probes(graphs: Mapping[str, TextGraph], manifest: Manifest) -> None:
    """The graphs that the version has a probe of their own for; versions of old have none."""
    for name, graph in graphs.items():
        probe = manifest.probes.get(name)
        if probe is not None:
            check_probe(graph, probe, f"{manifest.version}/{name}")


def check_shape(graph: TextGraph, manifest: Manifest, outputs: int, name: str) -> None:
    """Raises RejectedModel unless there are so many finite outputs for each text of the probe."""
    answers = answering(lambda: graph.rows(manifest.probe.histories), name)
    if answers.shape != (len(manifest.probe.histories), outputs) or not np.isfinite(answers).all():
        raise RejectedModel(
            "wrong_answers", f"{manifest.version}/{name} gives {answers.shape}, not {outputs} each"
        )


def answering(run: Callable[[], _T], name: str) -> _T:
    """What running a graph gives; raises RejectedModel where it cannot run."""
    try:
        return run()
    except GRAPH_ERRORS as error:
        raise RejectedModel("wrong_answers", f"{name}: {error}") from error
