"""What the embedded endpoint must know of a statement before chDB runs it. Pure.

Finds where an INSERT's data begins, refuses statements that would ruin a chDB directory or end
the process, and reads an error's code. It does not parse SQL: tokens only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Tables of these engines consume in the background, which chDB cannot: after a Kafka table was
# tried (measured, chDB 26.9) the process answers nothing and the directory never opens again.
REFUSED_ENGINES = frozenset(
    {"azurequeue", "filelog", "kafka", "materializedpostgresql", "nats", "rabbitmq", "s3queue"}
)
NOT_IMPLEMENTED = 48
SYNTAX_ERROR = 62
READONLY = 164
UNKNOWN_ERROR = 1002

_TOKEN = re.compile(
    r"""
      (?P<skip>\s+ | --[^\n]* | \#[!\ ][^\n]* | /\*.*?\*/)
    | (?P<string>'(?:[^'\\]|\\.|'')*')
    | (?P<name>`(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*")
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_HEAD_BYTES = 1 << 18
_BEFORE_NAME = ("INTO", "TABLE", ".")
# Data begins after the first line break, if only blanks come before it.
_BLANK = re.compile(rb"[ \t\f]*\r?\n?")
_CODE = re.compile(r"Code: (\d+)\.")
_STATUS = {
    400: frozenset({6, 26, 27, 33, 36, 38, 41, 42, 43, 53, 62, 69, 70, 72, 117, 427, 456, 457}),
    401: frozenset({194}),
    403: frozenset({192, 193, 516}),
    404: frozenset({10, 16, 46, 47, 50, 56, 60, 63, 78, 81, 107, 115, 141}),
    408: frozenset({159}),
    413: frozenset({307}),
    501: frozenset({NOT_IMPLEMENTED}),
}


class Refused(Exception):
    """A statement that the endpoint does not pass on; carries ClickHouse's error code."""

    def __init__(self, code: int, name: str, text: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {text}. ({name})")


@dataclass(frozen=True)
class Insert:
    """An INSERT cut in two: the statement without its FORMAT clause, and the data after it."""

    statement: bytes
    format: str
    data: bytes


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    end: int


def split_insert(body: bytes) -> Insert | None:
    """The parts of an INSERT that carries data, none for any other statement.

    >>> split_insert(b"INSERT INTO t (a) FORMAT Native\\n...")
    Insert(statement=b'INSERT INTO t (a) ', format='Native', data=b'...')
    >>> split_insert(b"INSERT INTO t SELECT 1") is None
    True
    """
    tokens = _tokens(body[:_HEAD_BYTES].decode("latin-1"))
    first = next(tokens, None)
    if first is None or first.text.upper() != "INSERT":
        return None
    depth, before = 0, first
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0 and token.kind == "word" and before.text.upper() not in _BEFORE_NAME:
            if token.text.upper() in ("SELECT", "WITH", "FROM"):
                return None
            if token.text.upper() == "VALUES":
                data = body[token.end :].rstrip().removesuffix(b";")
                return Insert(body[: token.end - len("VALUES")], "Values", data)
            if token.text.upper() == "FORMAT":
                return _after_format(body, token, next(tokens, None))
        before = token
    return None


def _after_format(body: bytes, word: _Token, name: _Token | None) -> Insert | None:
    if name is None or name.kind != "word":
        return None
    if name.text.upper() == "VALUES":
        data = body[name.end :].rstrip().removesuffix(b";")
    else:
        blank = _BLANK.match(body, name.end)
        data = body[blank.end() if blank else name.end :]
    return Insert(body[: word.end - len("FORMAT")], name.text, data)


def refuse(statement: str) -> None:
    """Pass a statement that chDB can run and survive.

    >>> refuse("CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a")
    >>> refuse("CREATE TABLE q (a Int8) ENGINE = Kafka")
    Traceback (most recent call last):
    local.clickhouse_sql.Refused: Code: 48. DB::Exception: engine Kafka is not available in the \
embedded endpoint: its table would make the data directory unreadable. (NOT_IMPLEMENTED)

    Raises:
        Refused: an engine that ruins the directory, a statement that ends the process, or one that
            only means something in a session.
    """
    words = [
        token.text.strip('`"')
        for token in _tokens(statement)
        if token.kind in ("word", "name")  # an engine's name may stand in quotes
    ]
    upper = [word.upper() for word in words]
    if not upper:
        return
    if upper[0] in ("CREATE", "ATTACH", "REPLACE"):
        _refuse_engine(words, upper)
        if "TEMPORARY" in upper[:4]:
            raise _no_session("CREATE TEMPORARY TABLE")
    if upper[0] in ("SET", "USE"):
        raise _no_session(upper[0])
    if upper[0] == "SYSTEM" and upper[1:2] in (["SHUTDOWN"], ["KILL"]):
        raise _refused("SYSTEM SHUTDOWN and SYSTEM KILL are refused: stop the endpoint itself")


def _refuse_engine(words: list[str], upper: list[str]) -> None:
    for at, word in enumerate(upper[:-1]):
        if word == "ENGINE" and words[at + 1].lower() in REFUSED_ENGINES:
            raise _refused(
                f"engine {words[at + 1]} is not available in the embedded endpoint: "
                "its table would make the data directory unreadable"
            )


def _no_session(what: str) -> Refused:
    return _refused(
        f"{what} is refused: the embedded endpoint keeps no session; "
        "pass settings and the database with the query"
    )


def _refused(text: str) -> Refused:
    return Refused(NOT_IMPLEMENTED, "NOT_IMPLEMENTED", text)


def output_format(statement: str, default: str) -> str:
    """The format the statement asks for in its last clause, else the default.

    >>> output_format("SELECT 1 FORMAT JSON", "TabSeparated")
    'JSON'
    """
    words = [token for token in _tokens(statement) if token.kind in ("word", "string", "other")]
    while words and words[-1].text == ";":
        words.pop()
    if len(words) >= 2 and words[-2].text.upper() == "FORMAT" and words[-1].kind == "word":
        return words[-1].text
    return default


def error_code(text: str) -> int:
    """The code that ClickHouse's error text names.

    >>> error_code("Code: 60. DB::Exception: Table x does not exist. (UNKNOWN_TABLE)")
    60
    """
    found = _CODE.search(text)
    return int(found[1]) if found else UNKNOWN_ERROR


def http_status(code: int) -> int:
    """The HTTP status ClickHouse answers an error code with.

    >>> http_status(60), http_status(62), http_status(241)
    (404, 400, 500)
    """
    return next((status for status, codes in _STATUS.items() if code in codes), 500)


def literal(text: str) -> str:
    r"""The text as a string literal of SQL.

    >>> literal("it's")
    "'it\\'s'"
    """
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _tokens(text: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or "other"
        if kind != "skip":
            yield _Token(kind, found[0], found.end())
