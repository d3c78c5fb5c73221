"""Names of tests: two workers collect them apart, so nothing of a clock or chance is in one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
CHANGES = {"time", "time_ns", "monotonic", "now", "today", "utcnow", "uuid4", "urandom", "getpid"}
CHANGES |= {"random", "randint", "choice", "token_hex", "token_bytes", "token_urlsafe"}


def changing(source: str) -> Iterator[int]:
    """Lines of a module whose ``parametrize`` decorators call what differs from run to run.

    >>> list(changing("@pytest.mark.parametrize('at', [time.time()])\\ndef test(at): ..."))
    [1]
    >>> list(changing("@pytest.mark.parametrize('at', [1])\\ndef test(at): time.time()"))
    []
    """
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            continue
        for call in (part for by in node.decorator_list for part in ast.walk(by)):
            if isinstance(call, ast.Call) and _name(call.func) in CHANGES:
                yield call.lineno


def _name(called: ast.expr) -> str:
    return called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")


@pytest.mark.parametrize("path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: path.stem)
def test_no_parameter_depends_on_the_run(path: Path) -> None:
    assert list(changing(path.read_text())) == []
