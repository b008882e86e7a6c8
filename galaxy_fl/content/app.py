"""The HTTP API of a content store, which any application can include.

    GET    /content/{cid}                      bytes, of any range
    POST   /uploads/{cid}?size=N               announces content; answers how much of it is there
    PUT    /uploads/{cid}?size=N&offset=K      its bytes from there on

Who may read and write, how much, and where it goes is decided by the application's `Service`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict

from galaxy_fl.content.content_id import CID_PATTERN, ContentId
from galaxy_fl.content.problems import Refused, problems
from galaxy_fl.content.uploads import Uploads, Writing
from galaxy_fl.exceptions import ContentError

__all__ = ["Arrived", "Cid", "Service", "TheContent", "reading", "writing"]

_OCTETS = "application/octet-stream"
_BYTES = {"content": {_OCTETS: {"schema": {"type": "string", "format": "binary"}}}}
_LARGEST = 2**40
_RANGE = re.compile(r"bytes=(?:(\d{1,19})-(\d{0,19})|-(\d{1,19}))", re.ASCII)
Cid = Annotated[str, InPath(pattern=CID_PATTERN, description="CIDv1, base32")]
Size = Annotated[int, Query(ge=0, le=_LARGEST, description="Bytes of the content.")]


class Arrived(BaseModel):
    """How many bytes of a content are there, and whether they are content."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: int
    complete: bool


class Service(Protocol):
    """What the API is a face of; `app.state.content` of the application."""

    uploads: Uploads

    def find(self, request: Request, cid: str) -> tuple[ContentId, Path] | None:
        """The content of that id, verified, and its file; None where there is none.

        Raises:
            Refused: whoever asks may not read.
            ContentError: it is there, but damaged.
        """

    def writing(self, request: Request, content: ContentId) -> Writing:
        """What whoever asks may do about the content.

        Raises:
            Refused: nothing.
        """


def _service(request: Request) -> Service:
    service: Service = request.app.state.content
    return service


TheService = Annotated[Service, Depends(_service)]


def _content(cid: Cid, size: Size) -> ContentId:
    try:
        return ContentId.from_cid(cid, size)
    except ContentError as error:
        raise Refused(422, "invalid", str(error)) from error


TheContent = Annotated[ContentId, Depends(_content)]


def _writing(request: Request, service: TheService, content: TheContent) -> Writing:
    return service.writing(request, content)


TheWriting = Annotated[Writing, Depends(_writing)]

reading = APIRouter()
writing = APIRouter()
_WRITTEN = problems(401, 403, 404, 409, 413, 422, 500, 503, 507)


@reading.head("/content/{cid}", response_class=FileResponse, responses=problems(400, 404, 416, 422, 500) | {206: {}})
@reading.get(
    "/content/{cid}",
    response_class=FileResponse,
    responses=problems(400, 404, 416, 422, 500) | {200: _BYTES, 206: _BYTES},
)
def read(service: TheService, request: Request, cid: Cid) -> FileResponse:
    """Content, verified. One range of bytes at a time can be asked for."""
    _content(cid, 0 if cid.startswith("bafk") else _LARGEST)
    found = service.find(request, cid)
    if found is None:
        raise Refused(404, "not_found", f"{cid} is not here")
    content, path = found
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


@writing.post("/uploads/{cid}", responses=_WRITTEN)
async def announce(service: TheService, writing: TheWriting) -> Arrived:
    """Announces content, which counts from now on; answers how much of it is there. What is complete need not be
    sent."""
    await run_in_threadpool(writing.count)
    if await run_in_threadpool(writing.is_there):
        service.uploads.forget(writing)
        return Arrived(bytes=writing.content.size, complete=True)
    return Arrived(bytes=service.uploads.received(writing), complete=False)


@writing.put("/uploads/{cid}", responses=problems(408) | _WRITTEN, openapi_extra={"requestBody": _BYTES})
async def send(
    service: TheService,
    writing: TheWriting,
    offset: Annotated[int, Query(ge=0, le=_LARGEST, description="Where these bytes begin.")],
    request: Request,
) -> Arrived:
    """Takes the bytes of a content from an offset on: there must be as many already."""
    length = request.headers.get("content-length", "0")
    announced = int(length) if length.isdecimal() else 0
    await run_in_threadpool(writing.count)
    size = await service.uploads.receive(writing, offset, request.stream(), announced)
    return Arrived(bytes=size, complete=size == writing.content.size)
