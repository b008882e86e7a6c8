"""The server of a cluster: the folder's jobs, as in standalone mode, and the HTTP API through which clients come."""

from __future__ import annotations

import logging
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from galaxy_fl.content import ContentId, Store
from galaxy_fl.exceptions import ContentError
from galaxy_fl.http_server import HttpServer, is_loopback, listen
from galaxy_fl.modes.cluster.app import Service, create_app
from galaxy_fl.modes.cluster.messages import PRESENT, REGISTRATION_VARIABLE
from galaxy_fl.modes.folder_coordinators import FolderServerCoordinator
from galaxy_fl.modes.job_folder import JobFolder, JobsFolder
from galaxy_fl.modes.standalone import lock_server
from galaxy_fl.patience import Backoff, poll
from galaxy_fl.rounds.coordinator import Committed, Origin, Phase, Round, Submitted

__all__ = ["ClusterServerPlace"]

_log = logging.getLogger(__name__)
_LOOKS = Backoff(0.05, 0.05)


class ClusterServerPlace:
    """Listens from its beginning until `close`.

    Args:
        folder: The working directory.
        ip, port: The address to listen at; port 0 is a free one.
        prefix: Of the API's paths.
        certificate, key: Files in PEM format for HTTPS; None for HTTP.
        sources: Opens the store in a folder that each job's current model is put into, for others to read; None for
            none.

    Raises:
        ConfigurationError: the folder has another server, the address can't be had, or the certificate can't be used.
    """

    def __init__(
        self,
        folder: Path,
        ip: str,
        port: int,
        prefix: str,
        certificate: Path | None,
        key: Path | None,
        sources: Callable[[Path], Store] | None = None,
    ) -> None:
        self._sources = sources
        self.jobs_folder = JobsFolder(folder)
        self.service = Service(self.jobs_folder, os.environ.get(REGISTRATION_VARIABLE) or None)
        self._lock = lock_server(self.jobs_folder.folder)
        try:
            app = create_app(self.service, prefix)
            self._server = HttpServer(listen(ip, port), ip, app, 3, certificate, key)
        except BaseException:
            self._lock.release()
            raise
        _warn(ip, certificate is not None, self.service.registration_token is not None)
        self._server.start()

    @property
    def name(self) -> str:
        """The server's URL."""
        return self._server.url

    def jobs(self) -> Sequence[str]:
        """All jobs in the folder, oldest first."""
        return self.jobs_folder.ids()

    def open(self, job_id: str) -> FolderServerCoordinator:
        """A job to serve."""
        origin = Origin(own=True, name=str(self.jobs_folder.folder))
        presence = self.service.presence
        job = self.jobs_folder.open(job_id)

        def alive(client: str) -> bool:
            return presence.is_there(client, job_id)

        if self._sources is None:
            return FolderServerCoordinator(job, origin, alive)
        return _Publishing(job, origin, alive, self._sources(job.path / "published"))

    def close(self) -> None:
        """Stops listening, once the clients of finished jobs, as far as they are alive, have what they came for, and
        those of jobs that were given up have heard of it."""
        if self.service.stopping:
            return
        poll(lambda: any(map(self._is_awaited, self.jobs_folder.ids())), operator.not_, _LOOKS, PRESENT)
        self.service.stopping = True
        self._server.stop()
        self._lock.release()

    def _is_awaited(self, job_id: str) -> bool:
        job = self.jobs_folder.open(job_id)
        ended = job.state.phase is Phase.FINISHED or job.given_up is not None
        return ended and self.service.presence.anybody_in(job_id)


class _Publishing(FolderServerCoordinator):
    """The server of a job that puts the current model where its clients may read it instead. They need not: the server
    has it, so no trouble with that ends anything."""

    def __init__(self, folder: JobFolder, origin: Origin, alive: Callable[[str], bool], store: Store) -> None:
        super().__init__(folder, origin, alive)
        self._store = store

    def enter(self) -> None:
        """As every server's; what the one before had no time to publish is published."""
        super().enter()
        self._publish()

    def commit(self, round: Round, next_model: Path, excluded: Mapping[Submitted, str]) -> Committed:
        """Commits the next model, and then publishes it."""
        committed = super().commit(round, next_model, excluded)
        self._publish()
        return committed

    def _publish(self) -> None:
        state = self.folder.state
        try:
            model = self._store.put(self.folder.model(state.round, state.model))
            self._store.pin(model)
            for cid in self._store.pins() - {model.cid}:
                self._store.unpin(ContentId.from_cid(cid, model.size))
            self._store.gc(grace_seconds=0)
        except ContentError as error:
            _log.warning("job %s: the model of round %d is not published: %s", self.job_id, state.round, error)


def _warn(ip: str, encrypted: bool, guarded: bool) -> None:
    if is_loopback(ip):
        return
    if not encrypted:
        _log.warning("clients of other machines come unencrypted: set certificate and key for HTTPS")
    if not guarded:
        _log.warning(
            "whoever reaches this server can take part: set %s, here and at the clients", REGISTRATION_VARIABLE
        )
