"""Content ids, as text and with a size."""

from __future__ import annotations

from galaxy_fl.content.content_id import ContentId, parse
from galaxy_fl.exceptions import ContentError
from tests.fuzz.clean import refused
from tests.fuzz.reader import Reader

__all__ = ["fuzz"]


def fuzz(data: bytes) -> bool:
    reader = Reader(data)
    size = reader.integer(reader.pick((1, 8)))
    cid = reader.rest().decode(errors="surrogateescape")
    try:
        digest, codec = parse(cid)
    except ContentError as error:
        return refused(error)
    assert len(digest) == 32
    try:
        content = ContentId.from_cid(cid, size)
    except ContentError as error:
        return refused(error)
    assert (content.cid, content.digest, content.codec) == (cid, digest, codec)
    return True
