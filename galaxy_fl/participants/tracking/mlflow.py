"""Tracking with MLflow: a run for each participant of each job, which a restart continues."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.participants.tracking.measured import About, Ended, Measured, harmless

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["Mlflow"]

EXPERIMENT = "galaxy"
KEY = "galaxy.run"
"""The tag by which a run is found again."""
NEVER = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "PERMISSION_DENIED", "UNAUTHENTICATED", "INVALID_STATE"}
"""MLflow's codes of errors that no further attempt mends."""
STATUS = {"finished": "FINISHED", "cancelled": "KILLED", "stopped": "KILLED"}
SETTINGS = {
    # The tracker tries again anyway, and talks to nobody but the server.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Standard output is the participant's: programs read events there.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""MLflow's own variables, unless the operator has set them."""


class Mlflow:
    """A tracking server, or a store of files. MLflow's own variables say by whom: MLFLOW_TRACKING_TOKEN, or
    MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD; and MLFLOW_EXPERIMENT_NAME, where to.

    Args:
        uri: The server's, or a folder.

    Raises:
        ImportError: the package is missing.
        ConfigurationError: the URI has a password, or is a place that can't be used.
    """

    def __init__(self, uri: str) -> None:
        _check_secrets(uri)
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        self._uri = uri if "://" in uri or uri.startswith(("file:", "databricks")) else Path(uri).absolute().as_uri()
        try:
            self._client = MlflowClient(tracking_uri=self._uri)
            if not self._uri.startswith(("http://", "https://", "databricks")):  # nobody has to be waited for
                self._client.get_experiment_by_name(EXPERIMENT)
        except Exception as error:  # of whatever library the store needs
            raise ConfigurationError(f"mlflow:{uri} can't be used for tracking: {harmless(str(error), 600)}") from error

    @property
    def name(self) -> str:
        """The URI."""
        return f"MLflow at {self._uri}"

    def open(self, about: About) -> _Run:
        """Find the participant's run, or create it."""
        with _told():
            return _Run(self._client, self._experiment(), about)

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found is not None else self._client.create_experiment(name))


class _Run:
    """One run."""

    def __init__(self, client: MlflowClient, experiment: str, about: About) -> None:
        self._client = client
        found = client.search_runs([experiment], f"tags.`{KEY}` = '{about.key}'", max_results=1)
        if found:
            self._id = found[0].info.run_id
            client.update_run(self._id, status="RUNNING")
        else:
            tags = {
                KEY: about.key,
                "galaxy.job": about.job,
                "galaxy.job_name": harmless(about.name) or "-",
                "galaxy.document": about.document,
                "galaxy.participant": about.participant,
            }
            self._id = client.create_run(experiment, tags=tags, run_name=about.key).info.run_id
        self._written: dict[str, dict[int, float]] = {}
        self._texts: dict[str, str] = {}

    def write(self, measured: Measured) -> None:
        """Log each number that is new in its round, and set the tags, in one request."""
        with _told():
            from mlflow.entities import Metric, RunTag

            now, step = int(time.time() * 1000), measured.round
            new = {name: value for name, value in measured.values.items() if self._of(name).get(step) != value}
            texts = {name: text for name, text in measured.texts.items() if self._texts.get(name) != text}
            if new or texts:
                self._client.log_batch(
                    self._id,
                    metrics=[Metric(name, value, now, step) for name, value in new.items()],
                    tags=[RunTag(f"galaxy.{name}", text) for name, text in texts.items()],
                )
            for name, value in new.items():
                self._written[name][step] = value
            self._texts |= texts

    def end(self, how: Ended) -> None:
        """Set the run's status."""
        with _told():
            self._client.set_terminated(self._id, STATUS[how])

    def _of(self, name: str) -> dict[int, float]:
        """Return what the run has of a metric, by round; the server is asked once."""
        if name not in self._written:
            history = self._client.get_metric_history(self._id, name)
            self._written[name] = {metric.step: metric.value for metric in history}
        return self._written[name]


@contextmanager
def _told() -> Iterator[None]:
    """Raise as OSError what may pass: a server that is away."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code in NEVER:
            raise
        raise OSError(str(error)) from error


def _check_secrets(uri: str) -> None:
    """Make sure that no secret is in a URI, where it would be seen in lists of processes and in logs."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc and not (parts.scheme in ("http", "https") and (parts.query or parts.fragment)):
        return
    raise ConfigurationError(
        f"the URI of MLflow at {parts.hostname} has a user, a password or a token in it, which others would see: leave "
        "it out, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
    )
