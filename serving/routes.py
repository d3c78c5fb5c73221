"""Which operation a method and a path ask for."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from schemas.errors import Denied
from schemas.http_routes import Operation

Parameters = dict[str, str]
_NONE: Parameters = {}


class Routes:
    """Operations by path; those without parameters are found in one step.

    >>> from schemas.http_routes import OPERATIONS
    >>> operation, parameters = Routes(OPERATIONS).find("POST", b"/v1/classify/tone%20de")
    >>> operation.name, parameters
    ('classify', {'task': 'tone de'})
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._plain: dict[tuple[str, bytes], Operation] = {}
        self._patterns: list[tuple[list[str], Operation]] = []
        for each in operations:
            if each.parameters:
                self._patterns.append((each.path.split("/"), each))
            else:
                self._plain[(each.method, each.path.encode())] = each

    def find(self, method: str, path: bytes) -> tuple[Operation, Parameters]:
        """The operation and what the path says; a HEAD is a GET whose body the server leaves out.

        Raises:
            Denied: 404 for a path that is not there, 405 with `Allow` for another method.

        *Source:* RFC 9110, section 9.1: servers must support GET and HEAD.
        """
        method = "GET" if method == "HEAD" else method
        plain = self._plain.get((method, path))
        if plain is not None:
            return plain, _NONE
        found = list(self._all(path))
        for operation, parameters in found:
            if operation.method == method:
                return operation, parameters
        if found:
            methods = sorted({operation.method for operation, _ in found})
            allowed = ", ".join(methods).replace("GET", "GET, HEAD")
            text = f"{method[:20]} is not taken here, {allowed} is"
            raise Denied(405, "method_not_allowed", text, [("Allow", allowed)])
        raise Denied(404, "not_found", "there is nothing at this path")

    def _all(self, path: bytes) -> Iterable[tuple[Operation, Parameters]]:
        for (_, known), operation in self._plain.items():
            if known == path:
                yield operation, _NONE
        parts = path.split(b"/")
        for pattern, operation in self._patterns:
            parameters = _matched(pattern, parts)
            if parameters is not None:
                yield operation, parameters


def _matched(pattern: list[str], parts: list[bytes]) -> Parameters | None:
    if len(pattern) != len(parts):
        return None
    found: Parameters = {}
    for known, part in zip(pattern, parts, strict=True):
        if known.startswith("{"):
            text = unquote_to_bytes(part).decode("utf-8", "replace")
            if not text:
                return None
            found[known[1:-1]] = text
        elif known.encode() != part:
            return None
    return found
