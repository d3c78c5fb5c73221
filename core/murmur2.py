"""The partition that Kafka's Java client (and librdkafka's `murmur2_random`) gives a key.

Used where the key that is written is not the key that places: pseudonymised records lie where the
raw id's records lie.
"""

_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The 32-bit hash, unsigned.

    Source: Apache Kafka, `org.apache.kafka.common.utils.Utils.murmur2` (Austin Appleby's
    MurmurHash2 with seed 0x9747b28c).

    >>> murmur2(b"21"), murmur2(b"foobar")
    (3321034988, 3504634814)
    """
    length = len(data)
    h = 0x9747B28C ^ length
    whole = length & ~3
    for place in range(0, whole, 4):
        k = int.from_bytes(data[place : place + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = h * _M & _MASK ^ k
    if whole < length:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def partition_of(key: str, partitions: int) -> int:
    """The partition of a key, from 0.

    Source: `BuiltInPartitioner.partitionForKey`: the hash without its sign bit, modulo.

    >>> [partition_of(key, 2) for key in ("ann", "bob", "dan")]
    [0, 0, 1]
    """
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions
