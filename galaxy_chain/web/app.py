"""The HTTP API of a content store.

    GET    /content/{cid}                      bytes, of any range: for everybody
    POST   /uploads/{cid}?size=N               announces content; says how much of it is there
    PUT    /uploads/{cid}?size=N&offset=K      its bytes from there on
    PUT    /pins/{cid}?size=N                  keeps content from being collected
    DELETE /pins/{cid}?size=N                  takes that back
    GET    /healthz                            that it is there, and for which ledger

All but reading is signed by an account of the job (`galaxy_chain.store.signed_request`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Security
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, ConfigDict

from galaxy_chain.ledger.ledger import Ledger
from galaxy_chain.store import ContentId, LocalStore
from galaxy_chain.web.authorization import Doorkeeper
from galaxy_chain.web.grants import Grant, Grants
from galaxy_chain.web.problems import Refused, answer_problems, problems
from galaxy_chain.web.quota import Quota
from galaxy_chain.web.uploads import Uploads
from galaxy_fl.exceptions import ContentError
from galaxy_fl.sqlite_file import SqliteFile

__all__ = ["Arrived", "Health", "Service", "create_app"]

_OCTETS = "application/octet-stream"
_BYTES = {"content": {_OCTETS: {"schema": {"type": "string", "format": "binary"}}}}
_LARGEST = 2**40
_RANGE = re.compile(r"bytes=(?:(\d{1,19})-(\d{0,19})|-(\d{1,19}))", re.ASCII)


class Health(BaseModel):
    """That the store is there.

    `urls`: its addresses, of which one is signed in every request. `ledger`: the contract's address.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: str = "ok"
    chain_id: int
    ledger: str
    urls: list[str]


class Arrived(BaseModel):
    """How many bytes of a content are there, and whether they are content, to be had by everybody."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: int
    complete: bool


@dataclass(frozen=True)
class Service:
    """What the API is a face of."""

    store: LocalStore
    health: Health
    doorkeeper: Doorkeeper
    grants: Grants
    quota: Quota
    uploads: Uploads

    @classmethod
    def of(
        cls,
        store: LocalStore,
        ledger: Ledger,
        database: SqliteFile,
        urls: Sequence[str],
        owners: Sequence[str],
        quota: int,
    ) -> Service:
        """A store, as `galaxy_chain.web.server.StoreServer` describes it."""
        uploads = Uploads(store)
        return cls(
            store,
            Health(chain_id=ledger.chain_id, ledger=ledger.address, urls=list(urls)),
            Doorkeeper(database, urls),
            Grants(ledger, owners),
            Quota(database, store, quota, uploads.arriving),
            uploads,
        )


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(_service)]
_CID = r"^baf(krei|ybei)[a-h][a-z2-7]{50}[aeimquy4]$"
"""CIDv1, base32, sha2-256, codec raw or dag-pb; the last character has two bits that are zero."""
Cid = Annotated[str, InPath(pattern=_CID, description="CIDv1, base32")]
Size = Annotated[int, Query(ge=0, le=_LARGEST, description="Bytes of the content.")]
_signature = APIKeyHeader(
    name="Authorization",
    scheme_name="Galaxy",
    auto_error=False,
    description="Galaxy address=0x…, job=N, until=SECONDS, once=…, signature=0x…",
)


def _content(cid: Cid, size: Size) -> ContentId:
    try:
        return ContentId.from_cid(cid, size)
    except ContentError as error:
        raise Refused(422, "invalid", str(error)) from error


TheContent = Annotated[ContentId, Depends(_content)]


def _grant(
    request: Request, service: TheService, content: TheContent, header: Annotated[str | None, Security(_signature)]
) -> Grant:
    target = request.scope["raw_path"] + b"?" + request.scope["query_string"]
    said = service.doorkeeper.check(header, request.method, target.decode("latin-1"))
    grant = service.grants.of(said.job, said.address)
    service.doorkeeper.use(said)
    return grant


TheGrant = Annotated[Grant, Depends(_grant)]

router = APIRouter()
_SIGNED = problems(401, 403, 404, 422, 500, 503)


@router.get("/healthz")
def healthz(service: TheService) -> Health:
    """That the store is there, and for which ledger."""
    return service.health


@router.head("/content/{cid}", response_class=FileResponse, responses=problems(400, 404, 416, 422, 500) | {206: {}})
@router.get(
    "/content/{cid}",
    response_class=FileResponse,
    responses=problems(400, 404, 416, 422, 500) | {200: _BYTES, 206: _BYTES},
)
def read(service: TheService, request: Request, cid: Cid) -> FileResponse:
    """Content, verified. One range of bytes at a time can be asked for."""
    _content(cid, 0 if cid.startswith("bafk") else _LARGEST)
    content = service.store.find(cid)
    if content is None:
        raise Refused(404, "not_found", f"{cid} is not here")
    path = service.store.path(content)
    _check_range(request.headers.get("range"), content.size)
    headers = {"ETag": f'"{cid}"', "Cache-Control": "public, max-age=31536000, immutable"}
    return FileResponse(path, media_type=_OCTETS, headers=headers, stat_result=path.stat())


def _check_range(header: str | None, size: int) -> None:
    if header is None:
        return
    match = _RANGE.fullmatch(header)
    if match is None or (match[2] and int(match[2]) < int(match[1])):
        raise Refused(
            400, "range", f"{header[:80]!r} is not one range of bytes: expected bytes=FIRST-LAST or bytes=-LAST"
        )
    if int(match[1]) >= size if match[1] else not int(match[3]) or not size:
        headers = {"Content-Range": f"bytes */{size}"}
        raise Refused(416, "range", f"{header} is not in content of {size} bytes", headers)


@router.post("/uploads/{cid}", responses=problems(413, 507) | _SIGNED)
async def announce(service: TheService, content: TheContent, grant: TheGrant) -> Arrived:
    """Announces content, which counts from now on; says how much of it is there. What is complete need not be sent."""
    grant.check(content.size)
    await run_in_threadpool(service.quota.charge, grant, content)
    if await run_in_threadpool(service.store.renew, content):
        service.uploads.forget(grant, content)
        return Arrived(bytes=content.size, complete=True)
    return Arrived(bytes=service.uploads.received(grant, content), complete=False)


@router.put(
    "/uploads/{cid}",
    responses=problems(408, 409, 413, 507) | _SIGNED,
    openapi_extra={"requestBody": _BYTES},
)
async def send(
    service: TheService,
    content: TheContent,
    grant: TheGrant,
    offset: Annotated[int, Query(ge=0, le=_LARGEST, description="Where these bytes begin.")],
    request: Request,
) -> Arrived:
    """Takes the bytes of a content from an offset on: there must be as many already."""
    grant.check(content.size)
    length = request.headers.get("content-length", "0")
    announced = int(length) if length.isdecimal() else 0
    await run_in_threadpool(service.quota.charge, grant, content)
    size = await service.uploads.receive(grant, content, offset, request.stream(), announced)
    return Arrived(bytes=size, complete=size == content.size)


@router.put("/pins/{cid}", status_code=204, responses=problems(413, 507) | _SIGNED)
def pin(service: TheService, content: TheContent, grant: TheGrant) -> None:
    """Keeps content, which has to be there, from being collected."""
    grant.check(content.size)
    service.quota.pin(grant, content)


@router.delete("/pins/{cid}", status_code=204, responses=_SIGNED)
def unpin(service: TheService, content: TheContent, grant: TheGrant) -> None:
    """Takes the account's pin back; those of others stay."""
    service.quota.unpin(grant, content)


def create_app(service: Service) -> FastAPI:
    """The API of a service."""
    app = FastAPI(title="Galaxy content store", version="1", docs_url=None, redoc_url=None)
    app.state.service = service
    app.include_router(router)
    answer_problems(app)
    return app
