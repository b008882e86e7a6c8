"""The content store over HTTP: everybody reads by content id, the accounts of a job write.

The API of `galaxy_fl.content.app`, and

    PUT    /pins/{cid}?size=N                  keeps content from being collected
    DELETE /pins/{cid}?size=N                  takes that back
    GET    /healthz                            that it is there, and for which ledger

and the inbox of what clients sign for others to hand in (`inbox_app.py`).

All else but reading is signed by an account of the job (`galaxy_chain.store.signed_request`). What has arrived of an
upload is in `uploads/` below the store, a file for a space, an account and a content.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request, Security
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, ConfigDict

from galaxy_chain.exceptions import RpcError, UnknownJobError
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.store.authorization import Doorkeeper
from galaxy_chain.store.grants import Grant, Grants
from galaxy_chain.store.inbox import ServedInbox
from galaxy_chain.store.inbox_app import inbox
from galaxy_chain.store.quota import Quota
from galaxy_fl.content import ContentId, LocalStore
from galaxy_fl.content.app import TheContent, reading, writing
from galaxy_fl.content.problems import answer_problems, answer_with, problems
from galaxy_fl.content.uploads import Uploads
from galaxy_fl.files import explained
from galaxy_fl.sqlite_file import SqliteFile

__all__ = ["Health", "Service", "create_app"]

_STALE = 86_400.0
"""How long an upload that does not continue is kept, in seconds."""


class Health(BaseModel):
    """That the store is there.

    `urls`: its addresses, of which one is signed in every request. `ledger`: the contract's address.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: str = "ok"
    chain_id: int
    ledger: str
    urls: list[str]


@dataclass
class Service:
    """What the API is a face of: a store, as `galaxy_chain.store.server.StoreServer` describes it."""

    store: LocalStore
    ledger: LedgerContract
    database: SqliteFile
    inbox_file: SqliteFile
    urls: Sequence[str]
    owners: Sequence[str]
    limit: int
    uploads: Uploads = field(default_factory=Uploads)

    def __post_init__(self) -> None:
        self.doorkeeper = Doorkeeper(self.database, self.urls)
        self.grants = Grants(self.ledger, self.owners)
        self.inbox = ServedInbox(self.inbox_file, self.grants)
        self.quota = Quota(self.database, self.store, self.limit, self.arriving)
        self.folder = self.store.root / "uploads"
        with explained(f"write to the store {self.store.root}"):
            self.folder.mkdir(exist_ok=True)

    @property
    def health(self) -> Health:
        return Health(chain_id=self.ledger.chain_id, ledger=self.ledger.address, urls=list(self.urls))

    def find(self, request: Request, cid: str) -> tuple[ContentId, Path] | None:
        """The content of that id, for everybody."""
        content = self.store.find(cid)
        return None if content is None else (content, self.store.path(content))

    def grant(self, request: Request) -> Grant:
        """What the account that has signed a request may write."""
        target = request.scope["raw_path"] + b"?" + request.scope["query_string"]
        said = self.doorkeeper.check(request.headers.get("authorization"), request.method, target.decode("latin-1"))
        grant = self.grants.of(said.job, said.address)
        self.doorkeeper.use(said)
        return grant

    def writing(self, request: Request, content: ContentId) -> Putting:
        """What the account that has signed a request does about the content."""
        grant = self.grant(request)
        grant.check(content.size)
        return Putting(self, grant, content)

    def arriving(self, space: str, cid: str) -> bool:
        """Whether an upload of this content has begun, and continues; those that do not are removed."""
        found = False
        for path in self.folder.glob(f"{space}.*.{cid}"):
            try:
                stale = path.stat().st_mtime < time.time() - _STALE
            except FileNotFoundError:  # it has become content
                continue
            if stale:
                path.unlink(missing_ok=True)
            found = found or not stale
        return found


class Putting:
    """An account's upload of a content."""

    def __init__(self, service: Service, grant: Grant, content: ContentId) -> None:
        self.content = content
        self.path = service.folder / f"{grant.space}.{grant.address}.{content.cid}"
        self._service = service
        self._grant = grant

    def count(self) -> None:
        """Counts it in its job, at its full size."""
        self._service.quota.charge(self._grant, self.content)

    def is_there(self) -> bool:
        """Whether it is in the store; its grace period begins anew."""
        return self._service.store.renew(self.content)

    def finish(self) -> None:
        """Puts what has arrived into the store."""
        self._service.store.adopt(self.path, self.content)


def _service(request: Request) -> Service:
    service: Service = request.app.state.content
    return service


TheService = Annotated[Service, Depends(_service)]
_signature = Security(
    APIKeyHeader(
        name="Authorization",
        scheme_name="Galaxy",
        auto_error=False,
        description="Galaxy address=0x…, job=N, until=SECONDS, once=…, signature=0x…",
    )
)
router = APIRouter()
_SIGNED = problems(401, 403, 404, 413, 422, 500, 503, 507)


@router.get("/healthz")
def healthz(service: TheService) -> Health:
    """That the store is there, and for which ledger."""
    return service.health


@router.put("/pins/{cid}", status_code=204, responses=_SIGNED, dependencies=[_signature])
def pin(service: TheService, content: TheContent, request: Request) -> None:
    """Keeps content, which has to be there, from being collected."""
    grant = service.grant(request)
    grant.check(content.size)
    service.quota.pin(grant, content)


@router.delete("/pins/{cid}", status_code=204, responses=_SIGNED, dependencies=[_signature])
def unpin(service: TheService, content: TheContent, request: Request) -> None:
    """Takes the account's pin back; those of others stay."""
    service.quota.unpin(service.grant(request), content)


def create_app(service: Service) -> FastAPI:
    """The API of a service."""
    app = FastAPI(title="Galaxy content store", version="1", docs_url=None, redoc_url=None)
    app.state.content = service
    app.include_router(router)
    app.include_router(reading)
    app.include_router(inbox)
    app.include_router(writing, dependencies=[_signature])
    answer_problems(app)
    no_job = "the ledger has no such job: check its number, and the store's ledger"
    answer_with(app, UnknownJobError, 404, "unknown_job", no_job)
    no_node = "the ledger can't be asked at the moment; the server's log says more"
    answer_with(app, RpcError, 503, "ledger", no_node)
    return app
