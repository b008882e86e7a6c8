"""What a running participant says to whoever watches over it: `/healthz` and Prometheus `/metrics`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import assert_never

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.http_server import HttpServer, listen
from galaxy_fl.participants import events
from galaxy_fl.participants.events import Event, Role

__all__ = ["PATIENCE", "Health", "serving"]

LABELS = ("role", "job")
PATIENCE = 60.0
"""Seconds without a look at the chain after which a participant that should look counts as unhealthy."""


class Health:
    """A listener that counts what a participant does, and knows when it last looked at the chain.

    Args:
        role: `server` or `client`.
        job: The job's number.
        clock: Seconds, monotonic.
    """

    def __init__(self, role: Role, job: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.role = role
        self.job = job
        self._clock = clock
        self._looked = clock()
        self._working = False
        self.registry = CollectorRegistry()
        of = role, str(job)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"galaxy_{name}", text, LABELS, registry=self.registry).labels(*of)

        def counter(name: str, text: str) -> Counter:
            return Counter(f"galaxy_{name}", text, LABELS, registry=self.registry).labels(*of)

        self._round = gauge("round", "The round that the job is in.")
        self._rounds = counter("rounds", "Rounds that this participant trained in or committed.")
        self._gas = counter("gas", "Gas that its transactions used.")
        self._loss = gauge("loss", "Loss of the last training, or of the last evaluation.")
        self._accuracy = gauge("accuracy", "Accuracy likewise, 0 to 1.")
        self._epsilon = gauge("epsilon", "What a client of a private job has spent of its privacy.")
        self._seconds = counter("work_seconds", "Seconds spent training or aggregating.")
        self._excluded = counter("excluded", "Updates that a server left out.")
        self._challenges = counter("challenges", "Wrong commits that it challenged.")
        self._done = gauge("finished", "1 once the job is finished.")
        looked = gauge("seconds_since_look", "Seconds since it last looked at the chain.")
        looked.set_function(lambda: self._clock() - self._looked)

    def looked(self) -> None:
        """The participant has just seen the chain."""
        self._looked = self._clock()

    def __call__(self, event: Event, job: str) -> None:
        """Count. From `Training` on the participant works, and does not look, until it emits something else."""
        self._working = isinstance(event, events.Training)
        self.looked()
        match event:
            case events.Training() | events.Waiting() | events.Collecting() | events.Reopened():
                self._round.set(event.round)
            case events.Spent():
                self._epsilon.set(event.epsilon)
            case events.Trained():
                self._worked(event.round, event.seconds, event.gas)
                self._measured(event)
            case events.Committed():
                self._worked(event.round, event.seconds, event.gas)
                self._excluded.inc(len(event.excluded))
                self._measured(event)
            case events.Evaluated():
                self._measured(event)
            case events.Challenged():
                self._round.set(event.round)
                self._challenges.inc()
            case events.Finished():
                self._done.set(1)
            case (
                events.Started() | events.Exhausted() | events.Best() | events.Ending() | events.Cancelled()
                | events.Staying() | events.Leaving()
                | events.Paid() | events.Noted() | events.Status() | events.Opened() | events.Looking()
                | events.Unreachable() | events.Retrying() | events.Failed()
            ):  # fmt: skip
                pass
            case _:
                assert_never(event)

    def _worked(self, round: int, seconds: float, gas: int | None) -> None:
        self._round.set(round)
        self._rounds.inc()
        self._seconds.inc(seconds)
        self._gas.inc(gas or 0)

    def _measured(self, event: events.Trained | events.Evaluated | events.Committed) -> None:
        if event.loss is not None:
            self._loss.set(event.loss)
        if event.accuracy is not None:
            self._accuracy.set(event.accuracy)

    @property
    def healthy(self) -> bool:
        """Whether it works, or looked at the chain not long ago."""
        return self._working or self._clock() - self._looked < PATIENCE

    def app(self) -> FastAPI:
        """The API."""
        app = FastAPI(title="Galaxy participant", docs_url=None, redoc_url=None)

        @app.get("/healthz")
        def healthz() -> JSONResponse:
            """200 while the participant works or sees the chain, 503 otherwise."""
            seen = {"role": self.role, "job": self.job, "seconds_since_look": round(self._clock() - self._looked, 1)}
            state = "healthy" if self.healthy else "the node has not answered for too long"
            return JSONResponse({"status": state, **seen}, 200 if self.healthy else 503)

        @app.get("/metrics")
        def metrics() -> Response:
            """Return them in Prometheus's text format."""
            return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

        return app


@contextmanager
def serving(status: Health, address: str) -> Iterator[str]:
    """Answers at `address`, `port` or `host:port` (loopback without a host), in a thread; gives the URL.

    Raises:
        ConfigurationError: it is not an address, or not available.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdecimal() or int(port) > 65_535:
        raise ConfigurationError(f"{address!r} is not an address to listen at: expected PORT or HOST:PORT")
    with HttpServer(listen(host, int(port)), host, status.app(), ending_seconds=1) as server:
        yield server.url
