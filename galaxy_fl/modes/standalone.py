"""Standalone mode, PFL's default: programs of one machine meet in a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.files import FileLock, check_name
from galaxy_fl.jobs.first_model import read_weights
from galaxy_fl.jobs.request import JobRequest
from galaxy_fl.jobs.start import Start
from galaxy_fl.modes.folder_coordinators import FolderClientCoordinator, FolderServerCoordinator
from galaxy_fl.modes.job_folder import JobsFolder
from galaxy_fl.patience import Recent
from galaxy_fl.rounds.coordinator import Origin
from galaxy_fl.validation import explain

__all__ = [
    "MODE",
    "StandaloneClientPlace",
    "StandaloneClientSettings",
    "StandaloneMode",
    "StandaloneServerPlace",
    "StandaloneSettings",
    "lock_server",
]


LOOK = 0.4
"""Seconds for which the clients of one program share a look for jobs."""


class StandaloneSettings(BaseModel):
    """Where the participants meet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path = Path()
    """The working directory, below which `res/jobs` is. Another one for several federations on a machine."""

    @classmethod
    def of(cls, given: dict[str, Any]) -> Self:
        """The settings in force.

        Raises:
            ConfigurationError: one is wrong or unknown.
        """
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise ConfigurationError(f"settings of the standalone mode: {explain(error)}") from error


class StandaloneClientSettings(StandaloneSettings):
    """Where a client looks, and for which jobs."""

    jobs: tuple[str, ...] | None = None
    """Ids of the jobs to take part in, also if they are over; None for all that are not over."""


def lock_server(folder: Path) -> FileLock:
    """Makes this program the folder's one server.

    Raises:
        ConfigurationError: there is another.
    """
    return FileLock.claim(
        folder / "res" / "server.lock",
        f"another server serves {folder}: stop it, or start this one in another folder",
    )


class StandaloneClientPlace:
    """A folder, to a client.

    Args:
        folder: The folder, or its jobs, which the clients of one program share.
        client_id: The client's name.
        named: Ids of the jobs to take part in, also if they are over; None for all that are not over.
        running: Returns the ids of those; None to look at the folder each time.
    """

    def __init__(
        self,
        folder: Path | JobsFolder,
        client_id: str,
        named: Sequence[str] | None = None,
        running: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        self.jobs_folder = folder if isinstance(folder, JobsFolder) else JobsFolder(folder)
        self._running = self.jobs_folder.running if running is None else running
        self._named = named
        self._client_id = check_name("client_id", client_id)
        self._opened: dict[str, FolderClientCoordinator] = {}

    @property
    def name(self) -> str:
        """The folder's."""
        return str(self.jobs_folder.folder)

    def jobs(self) -> Sequence[str]:
        """Those named, or those that are not over, oldest first."""
        return self._running() if self._named is None else self._named

    def open(self, job_id: str) -> FolderClientCoordinator:
        """A job to take part in; one that was opened before is left."""
        folder = self.jobs_folder.open(job_id)
        if job_id in self._opened:
            self._opened[job_id].close()
        self._opened[job_id] = FolderClientCoordinator(folder, Origin(own=True, name=self.name), self._client_id)
        return self._opened[job_id]

    def close(self) -> None:
        """Leaves all jobs."""
        for coordinator in self._opened.values():
            coordinator.close()


class StandaloneServerPlace:
    """A folder, to its server.

    Raises:
        ConfigurationError: it has another server.
    """

    def __init__(self, folder: Path) -> None:
        self.jobs_folder = JobsFolder(folder)
        self._lock = lock_server(self.jobs_folder.folder)

    @property
    def name(self) -> str:
        """The folder's."""
        return str(self.jobs_folder.folder)

    def jobs(self) -> Sequence[str]:
        """All jobs, oldest first."""
        return self.jobs_folder.ids()

    def open(self, job_id: str) -> FolderServerCoordinator:
        """A job to serve."""
        return FolderServerCoordinator.of_folder(self.jobs_folder.open(job_id), Origin(own=True, name=self.name))

    def close(self) -> None:
        """Lets another server have the folder."""
        self._lock.release()


class StandaloneMode:
    """Everybody in one folder."""

    def submit(self, request: JobRequest, **settings: Any) -> str:
        """Publishes the job in the folder."""
        return JobsFolder(StandaloneSettings.of(settings).folder).submit(request)

    def model_of(self, job_id: str, round: str, **settings: Any) -> Start:
        """The model after a round of a job of the folder."""
        job = JobsFolder(StandaloneSettings.of(settings).folder).open(job_id)
        last = job.state.round - 1
        if round not in ("last", *map(str, range(last + 1))):
            raise ConfigurationError(
                f"start names round {round} of job {job_id}, of which {last} are committed: name one of 0 (the initial "
                "model) to that, or last; the best model of a server is a file, best_model_pars_JOB.safetensors"
            )
        number = last if round == "last" else int(round)
        path = job.model(number + 1, job.state.model) if number == last else job.past_model(number + 1)
        return Start(f"round {number} of job {job_id}", job.document, read_weights(job.document, path).copy())

    def client_places(self, client_id: str, **settings: Any) -> Sequence[StandaloneClientPlace]:
        """The folder."""
        chosen = StandaloneClientSettings.of(settings)
        return [StandaloneClientPlace(chosen.folder, client_id, chosen.jobs)]

    def places_of(self, client_ids: Sequence[str], **settings: Any) -> Sequence[Sequence[StandaloneClientPlace]]:
        """The folder, which is looked at once for all."""
        chosen = StandaloneClientSettings.of(settings)
        folder = JobsFolder(chosen.folder)
        running = Recent(folder.running, LOOK)
        return [[StandaloneClientPlace(folder, client_id, chosen.jobs, running)] for client_id in client_ids]

    def server_place(self, **settings: Any) -> StandaloneServerPlace:
        """The folder."""
        return StandaloneServerPlace(StandaloneSettings.of(settings).folder)


MODE = StandaloneMode()
