"""A question as it is answered and logged where ids are pseudonyms, and where its answer lies.

The shop asks with its own ids; what is stored carries pseudonyms. Both must meet in one partition:
the raw id places a record, whatever key is written on it.
"""

from typing import TypeVar

from msgspec.structs import replace

from core.murmur2 import partition_of
from core.pseudonyms import Pepper
from schemas.predictions import RequestRecord
from schemas.topics import VISITOR_PARTITIONS

Asked = TypeVar("Asked", bound=RequestRecord)


def masked(request: Asked, pepper: Pepper | None) -> Asked:
    """The request with pseudonyms; itself without a pepper."""
    if pepper is None:
        return request
    session = request.session_id
    return replace(
        request,
        visitor_id=pepper.pseudonym("visitor", request.visitor_id),
        session_id=None if session is None else pepper.pseudonym("session", session),
    )


def place_of(visitor_id: str, pepper: Pepper | None) -> int | None:
    """The partition that the shop's events of this visitor lie in; None where the key says it.

    >>> from core.pseudonyms import parse_pepper
    >>> place_of("dan", parse_pepper("k1:" + "00" * 32)), place_of("dan", None)
    (1, None)
    """
    return None if pepper is None else partition_of(visitor_id, VISITOR_PARTITIONS)
