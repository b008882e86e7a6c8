"""Content stores that are served, and those who write to them."""

from __future__ import annotations

import weakref
from pathlib import Path

import httpx
from eth_account import Account

from galaxy_chain.node import Node
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.store.server import StoreServer
from galaxy_chain.store.signed_request import NO_JOB, Writer
from galaxy_chain.transactions.accounts import LocalSigner
from galaxy_fl.content import ContentId
from tests.galaxy_chain.federation import Federation

__all__ = ["Asker", "store_server", "writer"]


def store_server(federation: Federation, folder: Path, quota: int = 1 << 30, **options: object) -> StoreServer:
    """Not yet answering; it keeps the jobs of the federation's owner."""
    return StoreServer(folder, federation.ledger(), [federation.owner], quota, **options)


def writer(node: Node, address: str, job: int = NO_JOB) -> Writer:
    key = node.private_keys[node.accounts.index(address)]
    return Writer(LocalSigner(Account.from_key(key)), Rpc(node.url), job)


class Asker:
    """Asks a server, and signs what it asks where it is somebody."""

    def __init__(self, server: StoreServer, who: Writer | None = None) -> None:
        self.url = server.url
        self.who = who
        self.http = httpx.Client(base_url=server.url, timeout=300)
        weakref.finalize(self, self.http.close)

    def __call__(
        self, method: str, target: str, headers: dict[str, str] | None = None, **options: object
    ) -> httpx.Response:
        signed = {} if self.who is None else {"Authorization": self.who.authorization(method, self.url, target)}
        return self.http.request(method, target, headers=signed | (headers or {}), **options)

    def announce(self, content: ContentId) -> httpx.Response:
        return self("POST", f"/uploads/{content.cid}?size={content.size}")

    def send(self, content: ContentId, data: object, offset: int = 0) -> httpx.Response:
        return self("PUT", f"/uploads/{content.cid}?size={content.size}&offset={offset}", content=data)

    def put(self, data: bytes) -> ContentId:
        """Content that has to be taken."""
        content = ContentId.of(data)
        response = self.send(content, data)
        assert response.json() == {"bytes": len(data), "complete": True}, response.text
        return content

    def pin(self, content: ContentId) -> httpx.Response:
        return self("PUT", f"/pins/{content.cid}?size={content.size}")

    def unpin(self, content: ContentId) -> httpx.Response:
        return self("DELETE", f"/pins/{content.cid}?size={content.size}")

    def read(self, content: ContentId, **headers: str) -> httpx.Response:
        return self.http.get(f"/content/{content.cid}", headers=headers)
