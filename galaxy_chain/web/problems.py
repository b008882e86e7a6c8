"""What went wrong, as JSON: every answer that is not a success."""

from __future__ import annotations

import errno
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from galaxy_chain.exceptions import RpcError, UnknownJobError
from galaxy_fl.exceptions import ContentAlteredError, ContentError, ContentMissingError, GalaxyError

__all__ = ["Problem", "Refused", "answer_problems", "problems"]

_log = logging.getLogger(__name__)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Problem(BaseModel):
    """Every answer that is not a success."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    error: str
    """For programs: `not_found`, `altered`, `unauthorized`, `forbidden`, `too_large`, `quota`, `offset`, …"""
    message: str
    """For people."""


class Refused(HTTPException):
    """What was asked for is not done.

    Args:
        status: Of HTTP.
        error: For programs.
        message: For people.
    """

    def __init__(self, status: int, error: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, message, headers)
        self.error = error


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How these statuses are documented."""
    return {status: {"model": Problem} for status in statuses}


def answer_problems(app: FastAPI) -> None:
    """Has an application answer its errors with a `Problem`."""
    for kind, answer in _ANSWERS.items():
        app.add_exception_handler(kind, answer)


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
    # Where the folders and the nodes are is nothing for those who ask.
    _log.error("%s %s: %s", request.method, request.url.path, error)
    match error:
        case UnknownJobError():
            return _problem(404, "unknown_job", "the ledger has no such job: check its number, and the store's ledger")
        case RpcError():
            return _problem(503, "ledger", "the ledger can't be asked at the moment; the server's log says more")
        case ContentMissingError():
            return _problem(404, "not_found", "that is not here")
        case ContentAlteredError():
            return _problem(500, "altered", "what the server has under that id is something else: put it again")
        case ContentError() if _is_full(error.__cause__):
            return _full()
    return _damaged()


def _full() -> Response:
    return _problem(507, "full", "the store's disk is full: ask its operator to free space, then go on")


def _damaged() -> Response:
    return _problem(500, "damaged", "the store can't be read or written; the server's log says why")


def _is_full(error: BaseException | None) -> bool:
    if isinstance(error, sqlite3.OperationalError):
        return error.sqlite_errorcode == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in _NO_SPACE


async def _disconnected(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody is there to read it


_ANSWERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    StarletteHTTPException: _refused,
    RequestValidationError: _invalid,
    GalaxyError: _galaxy,
    ClientDisconnect: _disconnected,
}
