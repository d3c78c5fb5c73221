"""What a dead letter says, which ones a person means, and what is sent when one is sent again.

Pure: knows neither Kafka nor a clock.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from schemas.codec import (
    CUT_HEADER,
    MAX_SENT_BYTES,
    MESSAGE_HEADER,
    ORIGIN_HEADER,
    REASON_HEADER,
    REPLAY_HEADER,
    headers_bytes,
    refused_headers,
    sent_bytes,
)
from schemas.errors import InvalidEvent

Headers = Sequence[tuple[str, bytes | None]]
_OF_REFUSAL = frozenset({REASON_HEADER, MESSAGE_HEADER, ORIGIN_HEADER, REPLAY_HEADER, CUT_HEADER})
_MOST_BESIDE_BYTES = 100_000
"""Of the key, and of the record's own headers, in a letter that cannot hold all."""
_HEX_SHOWN = 512


class Refused(NamedTuple):
    """A dead letter to be written."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def letter_of(
    key: bytes | None, value: bytes | None, own: Headers, error: InvalidEvent, origin: str
) -> Refused:
    """A refused record as a dead letter: as it was, with why and `origin`, topic[partition]@offset.

    What a broker would not take is cut: `shoploop_cut` says how large each part was. The value is
    kept as far as it fits, own headers while they are small.

    >>> refused = InvalidEvent("malformed", "not JSON")
    >>> letter_of(b"v", b"{", [("ce_id", b"e")], refused, "events[0]@7").headers[0]
    ('ce_id', b'e')
    >>> letter = letter_of(b"v", b"x" * 2_000_000, [], refused, "events[0]@7")
    >>> letter.headers[-1], sent_bytes(*letter) <= MAX_SENT_BYTES, len(letter.value or b"")
    (('shoploop_cut', b'key=1 value=2000000 headers=0'), True, 1029744)
    """
    why = refused_headers(error, origin)
    headers = [*own, *why]
    if sent_bytes(key, value, headers) <= MAX_SENT_BYTES:
        return Refused(key, value, headers)
    sizes = len(key or b""), len(value or b""), headers_bytes(own)
    cut = "key={} value={} headers={}".format(*sizes)
    kept = own if sizes[2] <= _MOST_BESIDE_BYTES else []
    headers = [*kept, *why, (CUT_HEADER, cut.encode())]
    key = key[:_MOST_BESIDE_BYTES] if key is not None else None
    room = MAX_SENT_BYTES - sent_bytes(key, b"", headers)
    return Refused(key, value[:room] if value is not None else None, headers)


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter: where it lies, what it was refused from, its parts.

    `topic` is the bare name of the topic that refused it; `name` the dead-letter topic in Kafka.
    """

    topic: str
    name: str
    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]

    @property
    def place(self) -> str:
        """topic[partition]@offset."""
        return f"{self.name}[{self.partition}]@{self.offset}"

    def header(self, name: str) -> str:
        """A header as text, the last of that name; empty when there is none."""
        found = dict(self.headers).get(name)
        return (found or b"").decode("utf-8", "replace")

    @property
    def reason(self) -> str:
        """The word it was refused with."""
        return self.header(REASON_HEADER)

    @property
    def is_cut(self) -> bool:
        """Whether it holds less than the record that was refused."""
        return bool(self.header(CUT_HEADER))


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters a person means; what is None does not matter."""

    reason: str | None = None
    partition: int | None = None
    from_offset: int | None = None
    to_offset: int | None = None

    def __call__(self, letter: Letter) -> bool:
        """Whether the letter is one of them; `to_offset` is one past the last."""
        return (
            (self.reason is None or letter.reason == self.reason)
            and (self.partition is None or letter.partition == self.partition)
            and (self.from_offset is None or letter.offset >= self.from_offset)
            and (self.to_offset is None or letter.offset < self.to_offset)
        )


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """Letters of one topic and reason."""

    topic: str
    reason: str
    letters: int
    resent: int
    first_ms: int
    last_ms: int


def headers_again(letter: Letter) -> list[tuple[str, bytes | None]]:
    """The headers of the letter sent again: its own without the refusal's, and where it lay.

    >>> letter = Letter(topic="events", name="shoploop.events.dlq.v1", partition=0, offset=7,
    ...     at_ms=0, key=None, value=b"{", headers=[("ce_id", b"e"), (REASON_HEADER, b"empty")])
    >>> headers_again(letter)
    [('ce_id', b'e'), ('shoploop_replay_of', b'shoploop.events.dlq.v1[0]@7')]
    """
    own = [(name, value) for name, value in letter.headers if name not in _OF_REFUSAL]
    return [*own, (REPLAY_HEADER, letter.place.encode())]


def counted(letters: Iterable[Letter], resent: frozenset[str]) -> list[Count]:
    """The letters by topic and reason, in that order; those in `resent` were sent again."""
    found: dict[tuple[str, str], Count] = {}
    for letter in letters:
        key = (letter.topic, letter.reason)
        again = int(letter.place in resent)
        before = found.get(key)
        found[key] = Count(
            topic=letter.topic,
            reason=letter.reason,
            letters=1 + (before.letters if before else 0),
            resent=again + (before.resent if before else 0),
            first_ms=min(letter.at_ms, before.first_ms) if before else letter.at_ms,
            last_ms=max(letter.at_ms, before.last_ms) if before else letter.at_ms,
        )
    return [found[key] for key in sorted(found)]


def readable(value: bytes | None) -> str:
    """The bytes for a person: indented when JSON, as text when text, else their hexadecimal start.

    >>> print(readable(b'{"a":1}'))
    {
      "a": 1
    }
    >>> readable(b"{broken")
    '{broken'
    >>> readable(b"\\xff\\x00"), readable(None)
    ('2 bytes: ff00', 'no value')
    """
    if value is None:
        return "no value"
    try:
        return msgspec.json.format(value, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return value.decode()
    except UnicodeDecodeError:
        more = " ..." if len(value) > _HEX_SHOWN else ""
        return f"{len(value)} bytes: {value[:_HEX_SHOWN].hex()}{more}"
