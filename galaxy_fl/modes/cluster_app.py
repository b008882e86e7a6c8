"""The HTTP API of a cluster's server: `cluster_api` over the folders of jobs. It never writes a job's state."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from galaxy_fl.exceptions import ConfigurationError, ContentMissingError, GalaxyError
from galaxy_fl.files import NAME_PATTERN
from galaxy_fl.modes.cluster_api import (
    LONGEST_WAIT,
    Api,
    Arrived,
    GaveUp,
    Handing,
    Heartbeat,
    Job,
    Jobs,
    Participation,
    PreviousUpdates,
    Problem,
    Registration,
    Standing,
)
from galaxy_fl.modes.job_folder import JobFolder, JobsFolder, parsed
from galaxy_fl.modes.registry import Presence, Registry
from galaxy_fl.modes.uploads import Refused, Uploads

__all__ = ["Service", "create_app"]

_log = logging.getLogger(__name__)
_MOST_JSON = 65_536
_OCTETS = "application/octet-stream"


@dataclass
class Service:
    """What the API is a face of.

    Attributes:
        jobs: The folder.
        registration_token: What a client must know to register; None where everybody may.
        presence: Who has been heard of.
        stopping: Set to have all that is waited for answered at once.
    """

    jobs: JobsFolder
    registration_token: str | None = None
    presence: Presence = field(default_factory=Presence)
    uploads: Uploads = field(default_factory=Uploads)
    stopping: bool = False

    def __post_init__(self) -> None:
        self.registry = Registry(self.jobs.folder)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(_service)]
_bearer = HTTPBearer(auto_error=False, description="`<client_id>.<secret>`, as registered")


def _client(service: TheService, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> str:
    client = None if given is None else service.registry.authenticate(given.credentials)
    if client is None:
        raise Refused(401, "unauthorized", "no client has that token: register")
    return client


TheClient = Annotated[str, Depends(_client)]


def _job(service: TheService, client: TheClient, job_id: Annotated[str, InPath(pattern=NAME_PATTERN)]) -> JobFolder:
    try:
        return service.jobs.open(job_id)
    except ContentMissingError:
        raise Refused(404, "not_found", f"there is no job {job_id}") from None


TheJob = Annotated[JobFolder, Depends(_job)]
Attempt = Annotated[int, InPath(ge=1, le=2**32)]


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Problem} for status in statuses}


def _bytes(media_type: str = _OCTETS) -> dict[int | str, dict[str, Any]]:
    content = {"content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}
    return {200: content, 206: content}


root = APIRouter()
router = APIRouter(responses=_problems(400, 401, 404, 413, 422))


@root.get("/")
def where(request: Request) -> Api:
    """Where the API is."""
    return Api(api=request.app.state.prefix)


@router.post("/clients", status_code=204, responses=_problems(403, 409))
def register(service: TheService, asked: Registration) -> None:
    """Registers a client. The same once more does nothing."""
    wanted = service.registration_token
    if wanted is not None and not hmac.compare_digest(wanted.encode(), (asked.registration_token or "").encode()):
        raise Refused(
            403,
            "registration_refused",
            "this server registers those only who know its registration token: ask its operator for it, and set "
            "GALAXY_REGISTRATION_TOKEN",
        )
    try:
        service.registry.register(asked.client_id, asked.secret)
    except ConfigurationError as error:
        raise Refused(409, "name_taken", str(error)) from error


@router.post("/heartbeat", status_code=204)
def heartbeat(service: TheService, client: TheClient, asked: Heartbeat) -> None:
    """Says that a client is alive, and in which jobs."""
    known = set(service.jobs.ids())
    service.presence.takes_part_in(client, [job for job in asked.jobs if job in known])


@router.get("/jobs")
def jobs(service: TheService, client: TheClient) -> Jobs:
    """The jobs that are not over."""
    return Jobs(jobs=service.jobs.running())


@router.get("/jobs/{job_id}")
def job(job: TheJob) -> Job:
    """What never changes about a job."""
    return Job(rounds=job.terms.rounds, parameters=job.parameters)


@router.get("/jobs/{job_id}/document", response_class=Response, responses=_bytes())
def document(job: TheJob) -> Response:
    """The job document."""
    return Response(job.document.to_bytes(), media_type=_OCTETS)


@router.get("/jobs/{job_id}/source", response_class=Response, responses=_bytes())
def source(job: TheJob) -> Response:
    """The source of the job's model."""
    return Response(job.source(), media_type=_OCTETS)


@router.post("/jobs/{job_id}/clients", status_code=204)
def take_part(service: TheService, client: TheClient, job: TheJob, asked: Participation) -> None:
    """Has the client take part."""
    job.enter(client, asked.samples)
    service.presence.seen(client, job.job_id)


@router.post("/jobs/{job_id}/gave-up", status_code=204)
def gave_up(client: TheClient, job: TheJob, asked: GaveUp) -> None:
    """Notes that the client can't take part."""
    job.leave(client, asked.reason)


@router.get("/jobs/{job_id}/round", responses=_problems(410))
async def standing(
    service: TheService,
    client: TheClient,
    job: TheJob,
    after: Annotated[str | None, Query(pattern=r"^[0-9]{1,10}/[a-z]{1,10}$")] = None,
) -> Standing:
    """Where the job stands; with `after`, attempt and phase as the client knows them, as soon as that is different."""
    loop = asyncio.get_running_loop()
    until, pause = loop.time() + LONGEST_WAIT, 0.02
    while True:
        if job.given_up is not None:
            # Why, the server's own console says: it may be about other clients, or about its folders.
            raise Refused(410, "given_up", f"the server has given up job {job.job_id}, for a reason that its log says")
        state = job.state
        if f"{state.attempt}/{state.phase.value}" != after or loop.time() > until or service.stopping:
            handed_in = job.update_of(client, state.round, state.attempt) is not None
            return Standing(
                round=state.round, attempt=state.attempt, phase=state.phase, model=state.model, handed_in=handed_in
            )
        await asyncio.sleep(pause)
        pause = min(0.25, pause * 1.3)


@router.get("/jobs/{job_id}/models/{number}", response_class=FileResponse, responses=_bytes() | _problems(416))
def model(job: TheJob, number: Annotated[int, InPath(ge=1, le=2**32)]) -> FileResponse:
    """The vector that a round starts from."""
    if number > job.state.round:
        raise Refused(404, "not_found", f"job {job.job_id} is in round {job.state.round}")
    return _file(job.path / "models" / str(number))


@router.get("/jobs/{job_id}/updates/{attempt}", responses=_problems(409))
async def arrived(service: TheService, client: TheClient, job: TheJob, attempt: Attempt) -> Arrived:
    """How much of the client's update has arrived."""
    size, handed_in = service.uploads.arrived(job, attempt, client)
    return Arrived(bytes=size, handed_in=handed_in)


_VECTOR = {"requestBody": {"required": True, "content": {_OCTETS: {"schema": {"type": "string", "format": "binary"}}}}}


@router.put("/jobs/{job_id}/updates/{attempt}", responses=_problems(408, 409), openapi_extra=_VECTOR)
async def send(
    service: TheService,
    client: TheClient,
    job: TheJob,
    attempt: Attempt,
    offset: Annotated[int, Query(ge=0, le=2**40)],
    request: Request,
) -> Arrived:
    """Takes the bytes of the client's update from an offset on."""
    length = request.headers.get("content-length", "0")
    announced = int(length) if length.isdecimal() else 0
    size = await service.uploads.receive(job, attempt, client, offset, request.stream(), announced)
    return Arrived(bytes=size, handed_in=False)


@router.post("/jobs/{job_id}/updates/{attempt}", status_code=204, responses=_problems(409))
async def hand_in(service: TheService, client: TheClient, job: TheJob, attempt: Attempt, asked: Handing) -> None:
    """Hands in what has arrived."""
    await service.uploads.hand_in(job, attempt, client, asked.weight, asked.sha256)
    service.presence.seen(client, job.job_id)


@router.get("/jobs/{job_id}/previous", responses=_problems(409))
def previous(client: TheClient, job: TheJob, attempt: Annotated[int, Query(ge=1, le=2**32)]) -> PreviousUpdates:
    """What a distillation goes on from."""
    state = job.state
    if state.attempt != attempt:
        raise Refused(409, "round_moved_on", f"job {job.job_id} is at attempt {state.attempt}, not {attempt}")
    latest = _shared(job) and job.latest_of(client)
    peers = [update.sha256 for update in parsed(state.previous) if update.client != client] if _shared(job) else []
    return PreviousUpdates(own=latest[2].sha256 if latest else None, peers=peers)


@router.get("/jobs/{job_id}/previous/{sha256}", response_class=FileResponse, responses=_bytes() | _problems(416))
def previous_update(
    client: TheClient, job: TheJob, sha256: Annotated[str, InPath(pattern="^[0-9a-f]{64}$")]
) -> FileResponse:
    """One of the vectors that a distillation goes on from. Nobody is shown others' updates in other jobs."""
    if _shared(job):
        state = job.state
        for update in parsed(state.previous):
            if update.sha256 == sha256:
                return _file(job.update_file(state.round - 1, state.previous_attempt, update))
        latest = job.latest_of(client)
        if latest is not None and latest[2].sha256 == sha256:
            return _file(job.update_file(*latest))
    raise Refused(404, "not_found", f"job {job.job_id} has no such update to show")


def _shared(job: JobFolder) -> bool:
    return job.document.distils


def _file(path: Path) -> FileResponse:
    try:
        return FileResponse(path, media_type=_OCTETS, stat_result=path.stat())
    except FileNotFoundError:
        raise Refused(404, "not_found", f"{path.name} is gone") from None


class _BodyLimit:
    """Lets no request be longer than a message of the API, but for uploads, which have a limit of their own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > _MOST_JSON:
                raise Refused(413, "too_long", f"a message has at most {_MOST_JSON} bytes")
            return message

        await self._app(scope, receive if scope.get("method") == "PUT" else limited, send)


def create_app(service: Service, prefix: str) -> FastAPI:
    """The API of a service below a prefix, which begins with a slash or is empty."""
    app = FastAPI(
        title="Galaxy cluster", version="1", openapi_url=f"{prefix}/openapi.json", docs_url=None, redoc_url=None
    )
    app.state.service = service
    app.state.prefix = prefix
    app.include_router(root)
    app.include_router(router, prefix=prefix)
    app.add_middleware(_BodyLimit)
    for kind, answer in _ANSWERS.items():
        app.add_exception_handler(kind, answer)
    return app


def _problem(status: int, error: str, message: str, headers: Any = None) -> JSONResponse:
    return JSONResponse(Problem(error=error, message=message).model_dump(), status, headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    code = error.error if isinstance(error, Refused) else {404: "not_found"}.get(error.status_code, "refused")
    return _problem(error.status_code, code, str(error.detail), error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return _problem(422, "invalid", "; ".join(found)[:2000])


async def _galaxy(request: Request, error: Exception) -> Response:
    if isinstance(error, ConfigurationError):
        return _problem(422, "invalid", str(error))
    # Where the folders are is nothing for clients.
    _log.error("%s %s: %s", request.method, request.url.path, error)
    if isinstance(error, ContentMissingError):
        return _problem(404, "not_found", "that is not here, or no longer; the server's log says more")
    return _problem(500, "damaged", "the server can't read or write that; its log says why")


async def _disconnected(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody is there to read it


_ANSWERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    StarletteHTTPException: _refused,
    RequestValidationError: _invalid,
    GalaxyError: _galaxy,
    ClientDisconnect: _disconnected,
}
