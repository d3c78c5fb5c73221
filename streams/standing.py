"""What a worker leaves with its offsets: who it was, which batch, how far time was closed.

In live time what is due is said when the wall clock has passed it, not when a record comes. So the
offsets alone do not tell the next owner of a partition what has been said already: this does.
"""

from collections.abc import Mapping

import msgspec

from streams.store import Place


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """One partition as its owner left it; goes into the offset's metadata as JSON."""

    worker: str = ""
    batch: int = -1
    closed_ms: int = -1


NOTHING = Standing()
_decode = msgspec.json.Decoder(Standing).decode


def written(standing: Standing) -> str:
    """The standing as text.

    >>> written(Standing("streams", 7, 1_000))
    '["streams",7,1000]'
    """
    return msgspec.json.encode(standing).decode()


def read(text: str | None) -> Standing:
    """What the text says; nothing known when it is absent or none of ours.

    >>> read('["streams",7,1000]').batch, read(None).batch, read("7").batch
    (7, -1, -1)
    """
    if not text:
        return NOTHING
    try:
        return _decode(text)
    except msgspec.MsgspecError:
        return NOTHING


def said_until(
    left: Mapping[Place, Standing], mine: Mapping[Place, int], sent: Mapping[Place, int]
) -> dict[int, int]:
    """How far what is due has been said, of partitions where we are not past the commit.

    Args:
        left: what came with the committed offsets.
        mine: how far this worker had read.
        sent: the committed offsets.
    """
    ahead = {place[1] for place, at in mine.items() if at > max(sent.get(place, 0), 0)}
    until: dict[int, int] = {}
    for (_, number), standing in left.items():
        if standing.closed_ms >= 0 and number not in ahead:
            until[number] = max(until.get(number, -1), standing.closed_ms)
    return until


def taken_by_others(
    worker: str,
    left: Mapping[Place, Standing],
    mine: Mapping[Place, int],
    sent: Mapping[Place, int],
) -> set[int]:
    """Partitions of which another worker has gone on from where this one had come to."""
    return {
        place[1]
        for place, each in left.items()
        if each.worker not in ("", worker) and sent.get(place, -1) >= mine.get(place, 0)
    }
