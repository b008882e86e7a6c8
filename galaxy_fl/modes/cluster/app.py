"""The HTTP API of a cluster's server: the messages over the folders of jobs. It never writes a job's state."""

from __future__ import annotations

import asyncio
import hmac
import logging
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi import Path as InPath
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from galaxy_fl.content.app import reading, writing
from galaxy_fl.content.problems import Refused, answer_problems, answer_with, problems
from galaxy_fl.exceptions import ConfigurationError, ContentAlteredError, ContentMissingError
from galaxy_fl.files import NAME_PATTERN
from galaxy_fl.modes.cluster.content import Content, previous_of
from galaxy_fl.modes.cluster.messages import (
    LONGEST_WAIT,
    Api,
    GaveUp,
    Heartbeat,
    Job,
    Jobs,
    Participation,
    PreviousUpdates,
    Registration,
    Standing,
    Submission,
)
from galaxy_fl.modes.cluster.registry import Presence, Registry
from galaxy_fl.modes.job_folder import JobFolder, JobsFolder, UpdateFile

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
    stopping: bool = False

    def __post_init__(self) -> None:
        self.registry = Registry(self.jobs.folder)
        self.content = Content()


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(_service)]
_bearer = HTTPBearer(auto_error=False, description="`<client_id>.<secret>`, as registered")


def _client(
    request: Request, service: TheService, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> str:
    client = None if given is None else service.registry.authenticate(given.credentials)
    if client is None:
        raise Refused(401, "unauthorized", "no client has that token: register", {"WWW-Authenticate": "Bearer"})
    request.state.client = client
    return client


TheClient = Annotated[str, Depends(_client)]


def _job(
    request: Request, service: TheService, client: TheClient, job_id: Annotated[str, InPath(pattern=NAME_PATTERN)]
) -> JobFolder:
    try:
        job = service.jobs.open(job_id)
    except ContentMissingError:
        raise Refused(404, "not_found", f"there is no job {job_id}") from None
    request.state.job = job
    return job


TheJob = Annotated[JobFolder, Depends(_job)]
Attempt = Annotated[int, InPath(ge=1, le=2**32)]


def _attempt(request: Request, job: TheJob, attempt: Attempt) -> int:
    request.state.attempt = attempt
    return attempt


root = APIRouter()
router = APIRouter(responses=problems(400, 401, 404, 413, 422))


@root.get("/")
def where(request: Request) -> Api:
    """Where the API is."""
    return Api(api=request.app.state.prefix)


@router.post("/clients", status_code=204, responses=problems(403, 409))
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
    return Job(document=job.document_id, rounds=job.terms.rounds, parameters=job.parameters)


@router.post("/jobs/{job_id}/clients", status_code=204)
def take_part(service: TheService, client: TheClient, job: TheJob, asked: Participation) -> None:
    """Has the client take part."""
    job.enter(client, asked.samples)
    service.presence.seen(client, job.job_id)


@router.post("/jobs/{job_id}/gave-up", status_code=204)
def gave_up(client: TheClient, job: TheJob, asked: GaveUp) -> None:
    """Notes that the client can't take part."""
    job.leave(client, asked.reason)


@router.get("/jobs/{job_id}/state", responses=problems(410))
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
        # Many clients keep the question open: one look is for all of them, and another for whom that seems to answer.
        given_up, state = job.recently()
        if f"{state.attempt}/{state.phase.value}" != after:
            given_up, state = job.given_up, job.state
        if given_up is not None:
            # Why, the server's own console says: it may be about other clients, or about its folders.
            raise Refused(410, "given_up", f"the server has given up job {job.job_id}, for a reason that its log says")
        if f"{state.attempt}/{state.phase.value}" != after or loop.time() > until or service.stopping:
            submitted = job.update_of(client, state.round, state.attempt) is not None
            return Standing(
                round=state.round,
                attempt=state.attempt,
                phase=state.phase,
                model=state.model,
                submitted=submitted,
                took_part=job.has_handed_in(client),
            )
        await asyncio.sleep(pause)
        pause = min(0.25, pause * 1.3)


@router.post("/jobs/{job_id}/attempts/{attempt}", status_code=204, responses=problems(409))
def submit(service: TheService, client: TheClient, job: TheJob, attempt: Attempt, asked: Submission) -> None:
    """Submits an update that was uploaded."""
    service.content.submit(job, attempt, UpdateFile(client, asked.weight, asked.cid))
    service.presence.seen(client, job.job_id)


@router.get("/jobs/{job_id}/previous", responses=problems(409))
def previous(client: TheClient, job: TheJob, attempt: Annotated[int, Query(ge=1, le=2**32)]) -> PreviousUpdates:
    """What a distillation continues from. Nobody is shown others' updates in other jobs."""
    state = job.state
    if state.attempt != attempt:
        raise Refused(409, "round_moved_on", f"job {job.job_id} is at attempt {state.attempt}, not {attempt}")
    own, peers = previous_of(job, client)
    return PreviousUpdates(own=own[1].cid if own else None, peers=[update.cid for _, update in peers])


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
    app.state.content = service.content
    app.include_router(router, prefix=prefix)
    of_job = problems(401)
    app.include_router(reading, prefix=f"{prefix}/jobs/{{job_id}}", dependencies=[Depends(_job)], responses=of_job)
    app.include_router(
        writing,
        prefix=f"{prefix}/jobs/{{job_id}}/attempts/{{attempt}}",
        dependencies=[Depends(_attempt)],
        responses=of_job,
    )
    app.add_middleware(_BodyLimit)
    answer_problems(app)
    damaged = "the server can't read or write that; its log says why"
    answer_with(app, ContentAlteredError, 500, "damaged", damaged)  # a job's own files
    return app
