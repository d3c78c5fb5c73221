"""A running serving process beside its OpenAPI document: calls made up from the schemas.

Schemathesis makes bodies and parameters that follow the document, and such that do not; every
response must be one of those that the document tells of.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from schemas.openapi import openapi_document

CHECKS = (status_code_conformance, content_type_conformance, response_schema_conformance)
NOT_NOW = (503, 504)
WITHIN_S = 30.0
DEEP = 25


@dataclass
class Found:
    """What came of the calls; `strange` holds responses that the document does not tell of.

    `unavailable` counts 503 and 504, which the document tells of: where everything that serving
    needs is there, none.
    """

    calls: int = 0
    server_errors: int = 0
    unavailable: int = 0
    strange: list[str] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)


def conformance(url: str, examples: int, seconds: float, rounds: int = 1_000) -> Found:
    """Calls every operation with `examples` good and as many bad calls a round.

    Args:
        url: of the process, such as `http://127.0.0.1:18080`.
        examples: calls of each kind and operation in a round.
        seconds: no round begins after it.
        rounds: at most so many; they differ, and are the same in every run.
    """
    found = Found()
    document = schemathesis.openapi.from_dict(openapi_document())
    results: list[Any] = list(document.get_all_operations())
    operations = [result.ok() for result in results]
    deadline = time.monotonic() + seconds
    for seed in range(rounds):
        for operation in operations:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                if time.monotonic() > deadline:
                    return found
                if mode is GenerationMode.NEGATIVE and not _takes_anything(operation):
                    continue
                _call(operation, mode, examples, seed, lambda case: _judge(case, url, found))
    return found


def server_errors(url: str, seconds: float = 80.0) -> int:
    """How many server errors a deep run meets."""
    return conformance(url, DEEP, seconds).server_errors


def _call(
    operation: Any, mode: GenerationMode, examples: int, seed: int, judge: Callable[[Any], None]
) -> None:
    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def each(case: Any) -> None:
        judge(case)

    with contextlib.suppress(Unsatisfiable):  # not every operation can be called wrongly
        each()


def _takes_anything(operation: Any) -> bool:
    return bool(list(operation.body) or list(operation.path_parameters))


def _judge(case: Any, url: str, found: Found) -> None:
    response = case.call(base_url=url, timeout=WITHIN_S)
    status = response.status_code
    found.calls += 1
    found.statuses[status] = found.statuses.get(status, 0) + 1
    if status in NOT_NOW:
        found.unavailable += 1
    elif status >= 500:
        found.server_errors += 1
    try:
        case.validate_response(response, checks=CHECKS)
    except BaseExceptionGroup as group:
        found.strange.append(f"{case.operation.label} {status}: {group.exceptions[0]}"[:1_000])
    except AssertionError as error:
        found.strange.append(f"{case.operation.label} {status}: {error}"[:1_000])


def main() -> int:
    """Runs against the process at `--url`; prints one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m bench.serving_schemathesis")
    parser.add_argument("--url", default="http://127.0.0.1:18080")
    parser.add_argument("--seconds", type=float, default=80.0)
    options = parser.parse_args()
    found = conformance(options.url, DEEP, options.seconds)
    print("\n".join(found.strange[:20]), file=sys.stderr)
    figures = {
        "schemathesis_server_errors": found.server_errors,
        "schemathesis_unavailable": found.unavailable,
        "schemathesis_nonconforming": len(found.strange),
        "schemathesis_calls": found.calls,
    }
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
