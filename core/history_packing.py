"""One visitor's history as few bytes, and back without loss.

A history of 50 items takes some 500 to 700 bytes: numbers take as many bytes as the largest of
their column needs, times are kept as the distance to the newest, and floats, of which there are
few different ones, as places in a table. What can be computed again (the co-occurrence weights) is
left out. It knows no store and no other visitor.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from core.visitor_history import VisitorHistory

_HEAD = struct.Struct("<BIBBBBBiqqdIIdIq")
_RECENT_IS_ROWS, _ONE_VISIT_EACH, _NOTHING_FADED = 1, 2, 4
_NEWEST = 9  # place of `newest_ms` in the head
_SMALL = 256
_FLOAT_BYTES = 4

Floats = NDArray[np.float32]
Whole = NDArray[np.int64]


def packed_history(visitor: VisitorHistory) -> bytes:
    """The history as bytes.

    >>> visitor = VisitorHistory()
    >>> _ = visitor.add(np.array([70_000, 3]), 1.0, True, 86_400_000)
    >>> len(packed_history(visitor)), unpacked_history(packed_history(visitor)).rows.tolist()
    (86, [70000, 3])
    """
    rows = visitor.rows.tolist()
    ago = visitor.newest_ms - visitor.last_ms
    visits = [visitor.first_visit.astype(np.int64)]
    flags = 0
    if np.array_equal(visitor.first_visit, visitor.last_visit):
        flags |= _ONE_VISIT_EACH
    else:
        visits.append(visitor.last_visit.astype(np.int64))
    floats = [visitor.counts, visitor.bought]
    if np.array_equal(visitor.fading, visitor.counts):
        flags |= _NOTHING_FADED
    else:
        floats.append(visitor.fading)
    recent = b""
    if visitor.recent == rows:
        flags |= _RECENT_IS_ROWS
    else:
        recent = _places(rows, visitor.recent)
    widths = [_width(visitor.rows), _width(ago), max(map(_width, visits))]
    head = _HEAD.pack(
        flags, len(rows), len(visitor.recent), *widths, len(recent) // max(len(visitor.recent), 1),
        visitor.sessions, visitor.session_ms, visitor.newest_ms, visitor.gap_ms, visitor.taken,
        visitor.repeats, visitor.price_sum, visitor.price_count, visitor.related,
    )  # fmt: skip
    whole = [_narrow(visitor.rows, widths[0]), _narrow(ago, widths[1])]
    whole += [_narrow(each, widths[2]) for each in visits]
    return b"".join([head, *whole, recent, *map(_table, floats)])


def unpacked_history(data: bytes) -> VisitorHistory:
    """The history that was packed; `gram_weights` is empty until the state computes it again."""
    visitor = VisitorHistory()
    (
        flags, n, n_recent, row_width, ago_width, visit_width, recent_width,
        visitor.sessions, visitor.session_ms, visitor.newest_ms, visitor.gap_ms, visitor.taken,
        visitor.repeats, visitor.price_sum, visitor.price_count, visitor.related,
    ) = _HEAD.unpack_from(data)  # fmt: skip
    at = _HEAD.size
    visitor.rows, at = _wide(data, at, n, row_width)
    ago, at = _wide(data, at, n, ago_width)
    visitor.last_ms = visitor.newest_ms - ago
    first, at = _wide(data, at, n, visit_width)
    visitor.first_visit = first.astype(np.int32)
    if flags & _ONE_VISIT_EACH:
        visitor.last_visit = visitor.first_visit.copy()
    else:
        last, at = _wide(data, at, n, visit_width)
        visitor.last_visit = last.astype(np.int32)
    if flags & _RECENT_IS_ROWS:
        visitor.recent = visitor.rows.tolist()
    else:
        places, at = _wide(data, at, n_recent, recent_width)
        visitor.recent = visitor.rows[places].tolist()
    visitor.counts, at = _untabled(data, at, n)
    visitor.bought, at = _untabled(data, at, n)
    if flags & _NOTHING_FADED:
        visitor.fading = visitor.counts.copy()
    else:
        visitor.fading, at = _untabled(data, at, n)
    return visitor


def newest_ms(data: bytes) -> int:
    """The newest event time of a packed history."""
    return int(_HEAD.unpack_from(data)[_NEWEST])


def held_bytes(visitor: VisitorHistory) -> int:
    """About how much memory a history takes in its working form."""
    return 2_000 + 68 * len(visitor.rows)


def _width(values: Whole) -> int:
    return max((int(values.max(initial=0)).bit_length() + 7) // 8, 1)


def _narrow(values: Whole, width: int) -> bytes:
    whole = values.astype("<i8", copy=False)
    return whole.view(np.uint8).reshape(-1, 8)[:, :width].tobytes()


def _wide(data: bytes, at: int, n: int, width: int) -> tuple[Whole, int]:
    wide = np.zeros((n, 8), np.uint8)
    wide[:, :width] = np.frombuffer(data, np.uint8, n * width, at).reshape(n, width)
    return wide.reshape(-1).view(np.int64), at + n * width


def _places(rows: list[int], recent: list[int]) -> bytes:
    """Where the newest interactions stand among the rows."""
    place = dict(zip(rows, range(len(rows)), strict=True))
    found = [place[row] for row in recent]
    if len(rows) <= _SMALL:
        return bytes(found)
    return _narrow(np.array(found, np.int64), _FLOAT_BYTES)


def _table(values: Floats) -> bytes:
    """How many different values, these, and the place of each; 0 and the values when many."""
    said = values.tolist()
    place = {value: i for i, value in enumerate(dict.fromkeys(said))}
    n = len(place)
    if n >= _SMALL or _FLOAT_BYTES * n + len(said) >= _FLOAT_BYTES * len(said):
        return b"\0" + values.tobytes()
    head = struct.pack(f"<B{n}f", n, *place)
    return head if n == 1 else head + bytes([place[value] for value in said])


def _untabled(data: bytes, at: int, n: int) -> tuple[Floats, int]:
    different = data[at]
    at += 1
    table = np.frombuffer(data, np.float32, different or n, at)
    at += _FLOAT_BYTES * len(table)
    if different == 0:
        return table.copy(), at
    if different == 1:
        return np.full(n, table[0], np.float32), at
    return table[np.frombuffer(data, np.uint8, n, at)], at + n
