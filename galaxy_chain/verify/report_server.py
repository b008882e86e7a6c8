"""Listening for reports; see `reports.py`."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from pydantic import ValidationError

from galaxy_chain.verify.reports import MOST_BYTES, Report, ReportRefusedError, Reports
from galaxy_fl.content.problems import Refused, answer_problems, problems
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.http_server import HttpServer, is_loopback, listen, url_of
from galaxy_fl.validation import explain

__all__ = ["ReportServer"]

_ENDING_SECONDS = 1

_log = logging.getLogger(__name__)


class ReportServer(HttpServer):
    """Takes reports over HTTP from the moment it is started.

    Args:
        reports: Where they go.
        address: `PORT`, of this machine alone, or `HOST:PORT`; port 0 is a free one.

    Attributes:
        url: Where it listens.

    Raises:
        ConfigurationError: that is not an address, or unavailable.
    """

    def __init__(self, reports: Reports, address: str) -> None:
        host, _, port = address.rpartition(":")
        if not port.isdecimal():
            raise ConfigurationError(f"{address!r} is not where to listen: expected PORT or HOST:PORT")
        host = host.strip("[]") or "127.0.0.1"
        listener = listen(host, int(port))
        if not is_loopback(host):
            _log.warning("others reach the reports on %s without encryption: put a proxy with HTTPS before it", host)
        try:
            super().__init__(listener, host, _application(reports), _ENDING_SECONDS)
        except BaseException:
            listener.close()
            raise
        self.url = url_of(listener, host)


def _application(reports: Reports) -> FastAPI:
    app = FastAPI(title="Galaxy watchtower", version="1", docs_url=None, redoc_url=None)
    answer_problems(app)

    @app.post("/reports", status_code=202, responses=problems(404, 413, 422, 503))
    async def report(request: Request) -> None:
        """Reports a node of a commit."""
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > MOST_BYTES:
                raise Refused(413, "too_large", f"a report has at most {MOST_BYTES} bytes")
        try:
            taken = Report.model_validate_json(bytes(body))
        except ValidationError as error:
            raise Refused(422, "invalid", str(explain(error))[:1000]) from error
        try:
            reports.add(taken)
        except ReportRefusedError as error:
            raise Refused(error.status, error.kind, str(error)) from error

    return app
