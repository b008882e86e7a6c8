"""Where the big things are: content addressed by what it is (protocol section 3).

Read `content_id.py` first, then `store.py`, the interface that all backends have, then `local.py`.
"""

from __future__ import annotations

from .content_id import BLOCK_SIZE, Codec, ContentId, Hasher, parse
from .finished import Finished
from .local import LocalStore
from .store import GcReport, Source, Store

__all__ = [
    "BLOCK_SIZE",
    "Codec",
    "ContentId",
    "Finished",
    "GcReport",
    "Hasher",
    "LocalStore",
    "Source",
    "Store",
    "parse",
]
