"""What is sent back over HTTP: status, bytes and headers, made of structs and problems."""

from __future__ import annotations

from typing import Any, NamedTuple

from schemas.codec import encode
from schemas.http import Problem
from schemas.http_routes import JSON, PROBLEM_JSON

Headers = tuple[tuple[str, str], ...]


class Response(NamedTuple):
    """One answer to one call; `is_final` says that the same call again would get no other."""

    status: int
    body: bytes
    media: str = JSON
    headers: Headers = ()
    is_final: bool = True


def json_response(status: int, value: Any) -> Response:
    """A struct, or what msgspec takes, as JSON."""
    return Response(status, encode(value))


def problem_response(problem: Problem, headers: Headers = ()) -> Response:
    """A problem detail."""
    return Response(problem.status, encode(problem), PROBLEM_JSON, headers)
