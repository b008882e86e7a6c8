"""The dashboard over HTTP: what `schema.py` describes, and the page."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import fastapi
from fastapi import Depends, FastAPI, Header, Query, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

import galaxy_chain
from galaxy_chain.dashboard import jobs, rounds, schema
from galaxy_chain.dashboard.events import Hub, Stream
from galaxy_chain.dashboard.ledger import WatchedLedger
from galaxy_chain.exceptions import RpcError, UnknownJobError
from galaxy_fl.content import ContentId, LocalStore
from galaxy_fl.content.app import reading
from galaxy_fl.content.problems import answer_problems, problem, problems

__all__ = ["STATIC", "create_app"]

STATIC = Path(__file__).parent / "static"
NO_STORE = {"Cache-Control": "no-store"}
_PROBLEMS = problems(404, 422, 503)
_EVENTS = {"text/event-stream": {"schema": {"type": "string"}}}
_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": _EVENTS, "description": "Events, until either ends."}}


def _watched(request: Request) -> WatchedLedger:
    watched: WatchedLedger = request.app.state.watched
    return watched


def _uncached(response: fastapi.Response) -> None:
    response.headers.update(NO_STORE)


TheLedger = Annotated[WatchedLedger, Depends(_watched)]
JobNumber = Annotated[int, InPath(ge=1, lt=2**63, description="Job number.")]
RoundNumber = Annotated[int, InPath(ge=1, lt=2**32, description="Round number.")]
AttemptNumber = Annotated[int | None, Query(ge=1, lt=2**32, description="Attempt, without it the last one.")]
FirstPlace = Annotated[int, Query(alias="from", ge=0, lt=2**32, description="The first of them, from 0.")]
Last = Annotated[str | None, Header(alias="Last-Event-ID", max_length=100)]
api = fastapi.APIRouter(prefix="/api", dependencies=[Depends(_uncached)])


@api.get("/ledger")
def ledger(watched: TheLedger) -> schema.Ledger:
    """Which ledger this is, and whether node and store answer."""
    source, head = watched.source, watched.head
    return schema.Ledger(
        chain_id=source.ledger.chain_id,
        address=source.ledger.address,
        genuine=source.doubt is None,
        doubt=source.doubt,
        node=source.ledger.rpc.name,
        health=watched.health,
        problem=watched.problem,
        since=watched.wrong_for,
        block=None if head is None else head.number,
        time=None if head is None else head.time,
        jobs=watched.count,
        store=source.store_name,
        content=source.content,
        store_problem=watched.judge.store_problem,
        version=galaxy_chain.__version__,
    )


@api.get("/jobs", responses=_PROBLEMS)
def list_jobs(
    watched: TheLedger,
    highest: Annotated[int | None, Query(alias="from", ge=1, lt=2**63, description="The highest number.")] = None,
    count: Annotated[int, Query(ge=1, le=50)] = 20,
) -> schema.Jobs:
    """The jobs, the newest first."""
    return jobs.jobs_of(watched, highest, count)


@api.get("/jobs/{job}", responses=_PROBLEMS)
def show_job(watched: TheLedger, job: JobNumber) -> schema.JobDetail:
    """A job: terms, money, servers, demands, verdicts."""
    with watched.reading(job) as found:
        return jobs.detail_of(watched, found)


@api.get("/jobs/{job}/participants", responses=_PROBLEMS)
def participants(
    watched: TheLedger,
    job: JobNumber,
    first: FirstPlace = 0,
    count: Annotated[int, Query(ge=1, le=200)] = 50,
) -> schema.Participants:
    """The clients, in the order of joining."""
    with watched.reading(job) as found:
        return jobs.participants_of(watched, found, first, count)


@api.get("/jobs/{job}/curves", responses=_PROBLEMS)
def curves(watched: TheLedger, job: JobNumber, points: Annotated[int, Query(ge=2, le=2_000)] = 500) -> schema.Curves:
    """What changes from round to round."""
    with watched.reading(job) as found:
        return jobs.curves_of(watched, found, points)


@api.get("/jobs/{job}/rounds", responses=_PROBLEMS)
def list_rounds(
    watched: TheLedger,
    job: JobNumber,
    first: Annotated[int | None, Query(alias="from", ge=1, lt=2**32, description="The first; else the newest.")] = None,
    count: Annotated[int, Query(ge=1, le=200)] = 50,
) -> schema.Rounds:
    """The timeline."""
    with watched.reading(job) as found:
        return rounds.rounds_of(watched, found, first, count)


@api.get("/jobs/{job}/rounds/{round}", responses=_PROBLEMS)
def show_round(
    watched: TheLedger, job: JobNumber, round: RoundNumber, attempt: AttemptNumber = None
) -> schema.RoundDetail:
    """A round opened."""
    with watched.reading(job) as found:
        return rounds.round_of(watched, found, round, attempt)


@api.get("/jobs/{job}/rounds/{round}/entries", responses=_PROBLEMS)
def entries(
    watched: TheLedger,
    job: JobNumber,
    round: RoundNumber,
    attempt: AttemptNumber = None,
    first: FirstPlace = 0,
    count: Annotated[int, Query(ge=1, le=200)] = 50,
) -> schema.Entries:
    """The updates of a round."""
    with watched.reading(job) as found:
        return rounds.entries_of(watched, found, round, attempt, first, count)


@api.get("/jobs/{job}/rounds/{round}/nodes", responses=_PROBLEMS)
def nodes(
    watched: TheLedger,
    job: JobNumber,
    round: RoundNumber,
    attempt: AttemptNumber = None,
    first: FirstPlace = 0,
    count: Annotated[int, Query(ge=1, le=1_200)] = 200,
) -> schema.Nodes:
    """The tree of sums of a round."""
    with watched.reading(job) as found:
        return rounds.nodes_of(watched, found, round, attempt, first, count)


class _Told(StreamingResponse):
    """A stream of events that is over once its browser is gone, be that before the first of them was sent."""

    def __init__(self, hub: Hub, stream: Stream) -> None:
        headers = NO_STORE | {"X-Accel-Buffering": "no"}
        super().__init__(hub.lines(stream), media_type="text/event-stream", headers=headers)
        self._end = partial(hub.end, stream)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._end()


def _stream(watched: WatchedLedger, job: int | None, last: str | None) -> StreamingResponse:
    return _Told(watched.hub, watched.hub.listen(job, last))


@api.get("/events", response_class=StreamingResponse, responses=problems(503) | _STREAM)
async def events(watched: TheLedger, last: Last = None) -> StreamingResponse:
    """What happens on the ledger and to all jobs that are looked at."""
    return _stream(watched, None, last)


@api.get("/jobs/{job}/events", response_class=StreamingResponse, responses=problems(503) | _STREAM)
async def job_events(watched: TheLedger, job: JobNumber, last: Last = None) -> StreamingResponse:
    """What happens on the ledger and to one job."""
    return _stream(watched, job, last)


class _Contents:
    """The contents of a folder, for `galaxy_fl.content.app`: read by their ids, verified, and never written."""

    def __init__(self, folder: Path) -> None:
        self._store = LocalStore(folder)

    def find(self, request: Request, cid: str) -> tuple[ContentId, Path] | None:
        """The content of an id."""
        content = self._store.find(cid)
        return None if content is None else (content, self._store.path(content))


def _page() -> FileResponse:
    return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})


def create_app(watched: WatchedLedger) -> FastAPI:
    """The application that shows a ledger."""
    app = FastAPI(title="Galaxy dashboard", version="1", openapi_url="/api/openapi.json", docs_url=None, redoc_url=None)
    app.state.watched = watched
    app.include_router(api)
    if watched.source.local is not None:
        app.state.content = _Contents(watched.source.local)
        app.include_router(reading, prefix="/api")
    answer_problems(app)
    app.add_exception_handler(UnknownJobError, _unknown)
    app.add_exception_handler(RpcError, _away)
    app.add_api_route("/", _page, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


async def _unknown(request: Request, error: Exception) -> fastapi.Response:
    return problem(request, 404, "unknown_job", str(error)[:1000])


async def _away(request: Request, error: Exception) -> fastapi.Response:
    return problem(request, 503, "ledger", str(error)[:1000], {"Retry-After": "2"})
