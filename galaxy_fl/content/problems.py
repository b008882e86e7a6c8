"""Errors as a server answers them over HTTP: every answer that is not a success is a `Problem`."""

from __future__ import annotations

import errno
import logging
import sqlite3
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from galaxy_fl.content.problem import PROBLEM_TYPE, Problem
from galaxy_fl.exceptions import ConfigurationError, ContentAlteredError, ContentError, ContentMissingError, GalaxyError

__all__ = ["Refused", "answer_problems", "answer_with", "problem", "problems"]

_log = logging.getLogger(__name__)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Refused(HTTPException):
    """What was asked for is not done.

    Args:
        status: HTTP status.
        kind: For programs, the last part of the problem's `type`.
        detail: For people.
    """

    def __init__(self, status: int, kind: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)
        self.kind = kind


def problem(request: Request, status: int, kind: str, detail: str, headers: Any = None) -> Response:
    """The answer to a request that is not done."""
    content = Problem.of(status, kind, detail, request.url.path)
    return Response(content.model_dump_json(), status, headers, PROBLEM_TYPE)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The description of these statuses in an API."""
    content = {"content": {PROBLEM_TYPE: {"schema": Problem.model_json_schema()}}}
    return dict.fromkeys(statuses, {"description": "Not done."} | content)


def answer_problems(app: FastAPI) -> None:
    """Has an application answer its errors with a `Problem`."""
    app.add_exception_handler(StarletteHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(GalaxyError, _galaxy)
    app.add_exception_handler(ClientDisconnect, _disconnected)


def answer_with(app: FastAPI, error: type[GalaxyError], status: int, kind: str, detail: str) -> None:
    """Has an application answer one error with that problem, and log the error itself."""

    async def answered(request: Request, raised: Exception) -> Response:
        _log.error("%s %s: %s", request.method, request.url.path, raised)
        return problem(request, status, kind, detail)

    app.add_exception_handler(error, answered)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    kind = error.kind if isinstance(error, Refused) else {404: "not_found"}.get(error.status_code, "refused")
    return problem(request, error.status_code, kind, str(error.detail), error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return problem(request, 422, "invalid", "; ".join(found)[:2000])


async def _galaxy(request: Request, error: Exception) -> Response:
    if isinstance(error, ConfigurationError):
        return problem(request, 422, "invalid", str(error))
    # Where the folders are is not for those who ask.
    _log.error("%s %s: %s", request.method, request.url.path, error)
    match error:
        case ContentMissingError():
            return problem(request, 404, "not_found", "that is not here, or no longer; the server's log says more")
        case ContentAlteredError():
            detail = "what the server has under that id is something else: put it again; its log says more"
            return problem(request, 500, "altered", detail)
        case ContentError() if _is_full(error.__cause__):
            detail = "the server's disk is full: ask its operator to free space, then continue"
            return problem(request, 507, "full", detail)
    return problem(request, 500, "damaged", "the server can't read or write that; its log says why")


def _is_full(error: BaseException | None) -> bool:
    if isinstance(error, sqlite3.OperationalError):
        return error.sqlite_errorcode == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in _NO_SPACE


async def _disconnected(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody is there to read it
