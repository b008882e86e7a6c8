"""A node whose answers are JSON-RPC, and lies: what is done with it, then a result a line, in turn."""

from __future__ import annotations

import itertools
import json

from galaxy_chain.rpc.rpc import Rpc
from galaxy_fl.exceptions import GalaxyError
from tests.fuzz.clean import refused
from tests.fuzz.hostile_server import HostileServer, http
from tests.fuzz.reader import Reader
from tests.fuzz.rpc_uses import USES

__all__ = ["fuzz"]

SERVER = HostileServer()


def fuzz(data: bytes) -> bool:
    reader = Reader(data)
    use = reader.pick(USES)
    results = itertools.chain(reader.rest().split(b"\n"), itertools.repeat(b"null"))

    chain: list[
        bytes
    ] = []  # each new connection is asked for it again, and a node that changes its mind is soon done with

    def answer(body: bytes) -> bytes:
        asked = json.loads(body)
        if asked["method"] == "eth_chainId":
            chain.append(chain[0] if chain else next(results))
        result = chain[0] if asked["method"] == "eth_chainId" else next(results)
        key = b"error" if result.startswith(b"!") else b"result"
        identity = json.dumps(asked["id"]).encode()
        return http(b'{"jsonrpc":"2.0","id":%s,"%s":%s}' % (identity, key, result.removeprefix(b"!")))

    SERVER.answers = answer
    rpc = Rpc(SERVER.url, timeout=2.0, patience=0.0, clock=lambda: 0.0, sleep=lambda seconds: None)
    try:
        use(rpc)
    except GalaxyError as error:
        return refused(error, 10_000)
    return True
