"""A gateway that answers with any bytes at all."""

from __future__ import annotations

import shutil
from contextlib import suppress

from galaxy_chain.store.gateway import Gateway
from galaxy_fl.content import ContentId, LocalStore
from galaxy_fl.content.content_id import BLOCK_SIZE
from galaxy_fl.content.remote import Timeouts
from galaxy_fl.exceptions import ContentError
from tests.fuzz.clean import refused
from tests.fuzz.folder import folder
from tests.fuzz.hostile_server import HostileServer
from tests.fuzz.reader import Reader

__all__ = ["fuzz"]

SERVER = HostileServer()
SMALL = ContentId.of(b"what was put")
LARGE = ContentId.of(bytes(BLOCK_SIZE + 1))
TIMEOUTS = Timeouts(connect=1.0, search=1.0, command=1.0, restart=0.0)


def fuzz(data: bytes) -> bool:
    reader = Reader(data)
    wanted = reader.pick((SMALL, LARGE))
    answer = reader.rest()
    SERVER.answers = lambda body: answer
    root = folder() / "fetched"
    shutil.rmtree(root, ignore_errors=True)
    store, gateway = LocalStore(root), Gateway(SERVER.url, timeouts=TIMEOUTS)
    with suppress(ContentError):
        assert ContentId.of(gateway.block(SMALL.digest)) == SMALL
    try:
        gateway.fetch(wanted, store)
    except ContentError as error:
        assert not [*store.contents()]
        return refused(error, 10_000)
    assert store.has(wanted)
    return True
