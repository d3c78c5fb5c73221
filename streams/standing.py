"""What a worker leaves with its offsets: who it was, which batch, how far time was closed.

In live time what is due is said when the wall clock has passed it, not when a record comes. So the
offsets alone do not tell the next owner of a partition what has been said already: this does.
"""

import msgspec


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
