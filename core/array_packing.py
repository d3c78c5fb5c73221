"""Plain values and numpy arrays to bytes and back, without pickle.

MessagePack with one extension type for arrays: dtype and shape as a MessagePack head, then the
array's own bytes.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

_ARRAY = 1


def pack(value: Any) -> bytes:
    """Bytes of a tree of dicts, lists, strings, numbers and arrays.

    >>> unpack(pack({"a": np.arange(2)}))["a"].tolist()
    [0, 1]
    """
    return _ENCODER.encode(value)


def unpack(packed: bytes) -> Any:
    """The tree that was packed; arrays are writable copies."""
    return _DECODER.decode(packed)


def _pack_array(value: Any) -> msgspec.msgpack.Ext:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"cannot pack a {type(value).__name__}, expected an array")
    head = msgspec.msgpack.encode([value.dtype.str, list(value.shape)])
    return msgspec.msgpack.Ext(_ARRAY, len(head).to_bytes(2, "big") + head + value.tobytes())


def _unpack_array(code: int, data: memoryview) -> NDArray[Any]:
    if code != _ARRAY:
        raise ValueError(f"unknown extension type {code}, expected {_ARRAY}")
    length = int.from_bytes(data[:2], "big")
    dtype, shape = msgspec.msgpack.decode(data[2 : 2 + length], type=tuple[str, list[int]])
    return np.frombuffer(data[2 + length :], dtype=dtype).reshape(shape).copy()


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_pack_array)
_DECODER = msgspec.msgpack.Decoder(ext_hook=_unpack_array)
