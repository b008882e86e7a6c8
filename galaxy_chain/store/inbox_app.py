"""The HTTP API of the inbox: everybody reads; who writes is whom the signature in the body is of.

POST   /jobs/{job}/attempts/{attempt}/updates            an update that its client has signed
GET    /jobs/{job}/attempts/{attempt}/updates?after=N    those that came after number N
POST   /jobs/{job}/joins                                 that a client joins
GET    /jobs/{job}/joins?after=N
"""

from __future__ import annotations

from typing import Annotated, Any, Protocol, TypeVar

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, ValidationError

from galaxy_chain.lane.messages import LARGEST_MESSAGE, SignedJoin, SignedUpdate
from galaxy_chain.store.inbox import Page, ServedInbox
from galaxy_fl.content.problems import Refused, problems
from galaxy_fl.validation import explain

__all__ = ["Joins", "Taken", "Updates", "inbox"]

Message = TypeVar("Message", SignedUpdate, SignedJoin)

Job = Annotated[int, InPath(ge=1, lt=2**63, description="The job's number.")]
Attempt = Annotated[int, InPath(ge=1, lt=2**32, description="The attempt's number.")]
After = Annotated[int, Query(ge=0, lt=2**63, description="The number after which to go on.")]
Relay = Annotated[bool, Query(description="Whether a relay asks, which clients are then told.")]


class Taken(BaseModel):
    """That a message is kept. `relayed`: whether a relay has looked into the inbox of the job lately."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    relayed: bool


class Updates(BaseModel):
    """Updates. `last`: the number of the newest that the inbox has; `next`: after which number to go on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    found: list[SignedUpdate]
    last: int
    next: int


class Joins(BaseModel):
    """Clients that want to join. `last` and `next` as of `Updates`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    found: list[SignedJoin]
    last: int
    next: int


class _HasInbox(Protocol):
    inbox: ServedInbox


def _inbox(request: Request) -> ServedInbox:
    service: _HasInbox = request.app.state.content
    return service.inbox


TheInbox = Annotated[ServedInbox, Depends(_inbox)]
inbox = APIRouter()
_READ = problems(422, 500)
_WRITTEN = problems(403, 404, 409, 413, 422, 500, 503, 507)


def _body(kind: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": kind.model_json_schema()}}}}


@inbox.post("/jobs/{job}/attempts/{attempt}/updates", responses=_WRITTEN, openapi_extra=_body(SignedUpdate))
async def hand_in(inbox: TheInbox, job: Job, attempt: Attempt, request: Request) -> Taken:
    """Keeps an update for relays; the very same again changes nothing."""
    update = await _read(request, SignedUpdate)
    await run_in_threadpool(inbox.hand_in, job, attempt, update)
    return Taken(relayed=inbox.relayed(job))


@inbox.get("/jobs/{job}/attempts/{attempt}/updates", responses=_READ)
def updates(inbox: TheInbox, job: Job, attempt: Attempt, after: After = 0, relay: Relay = False) -> Updates:
    """The updates to an attempt."""
    return Updates(**_shown(inbox.updates(job, attempt, after, relay), SignedUpdate))


@inbox.post("/jobs/{job}/joins", responses=_WRITTEN, openapi_extra=_body(SignedJoin))
async def ask_to_join(inbox: TheInbox, job: Job, request: Request) -> Taken:
    """Keeps for relays that a client joins."""
    join = await _read(request, SignedJoin)
    await run_in_threadpool(inbox.ask_to_join, job, join)
    return Taken(relayed=inbox.relayed(job))


@inbox.get("/jobs/{job}/joins", responses=_READ)
def joins(inbox: TheInbox, job: Job, after: After = 0, relay: Relay = False) -> Joins:
    """The clients that want to join."""
    return Joins(**_shown(inbox.joins(job, after, relay), SignedJoin))


async def _read(request: Request, kind: type[Message]) -> Message:
    """The message in a body, of which no more is read than one has."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_MESSAGE:
            raise Refused(413, "size", f"a message has at most {LARGEST_MESSAGE} bytes")
    try:
        return kind.model_validate_json(bytes(body))
    except ValidationError as error:
        raise Refused(422, "invalid", explain(error)[:2000]) from error


def _shown(page: Page, kind: type[Message]) -> dict[str, Any]:
    return {"found": [kind.model_validate_json(body) for body in page.found], "last": page.last, "next": page.next}
