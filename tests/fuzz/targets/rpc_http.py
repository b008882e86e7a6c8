"""A node that answers a request with any bytes at all: head, encoding and body."""

from __future__ import annotations

from galaxy_chain.rpc.rpc import Rpc
from galaxy_fl.exceptions import GalaxyError
from tests.fuzz.clean import refused
from tests.fuzz.hostile_server import HostileServer, http
from tests.fuzz.reader import Reader

__all__ = ["fuzz"]

SERVER = HostileServer()


def fuzz(data: bytes) -> bool:
    reader = Reader(data)
    head, rest = reader.integer() % 2, reader.rest()
    SERVER.answers = lambda body: rest if head else http(rest)
    rpc = Rpc(SERVER.url, timeout=2.0, patience=0.0, clock=lambda: 0.0, sleep=lambda seconds: None)
    try:
        assert isinstance(rpc.number("eth_chainId"), int)
    except GalaxyError as error:
        return refused(error, 10_000)
    return True
