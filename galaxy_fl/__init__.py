"""Galaxy's federated-learning core: from a model and a data set to a better model, without a chain.

    import galaxy_fl as galaxy

    job = galaxy.Job(model=Net, rounds=5, train=galaxy.Train(loss="nll", learning_rate=0.1, batch_size=32))
    galaxy.submit(job, clients=2)

    galaxy.Client(data=my_dataset).run()  # in each client's program
    galaxy.Server(test_data="digits").run()  # in the server's

What `__all__` lists here and in `galaxy_chain` is public, and so are the names of PFL in `galaxy_fl.core`,
`galaxy_fl.entity` and `galaxy_fl.exceptions`. Everything else is internal, and may change with any version.
"""

import typing as _typing

from galaxy_fl.exceptions import (
    AggregationError,
    ConfigurationError,
    ContentAlteredError,
    ContentError,
    ContentMissingError,
    DataError,
    DivergedError,
    EncodingError,
    GalaxyError,
    GivenUpError,
    JobDocumentError,
    RoundMovedOnError,
    TrainingError,
    UnreachableError,
    UntrustedModelError,
    VectorError,
)
from galaxy_fl.lazily import lazily as _lazily

if _typing.TYPE_CHECKING:
    from galaxy_fl.jobs.job import Job
    from galaxy_fl.jobs.method import Averaging, Distillation
    from galaxy_fl.jobs.train import Train
    from galaxy_fl.modes.submit import submit
    from galaxy_fl.participants import events
    from galaxy_fl.participants.client import Client
    from galaxy_fl.participants.console import Console
    from galaxy_fl.participants.events import Event, Listener
    from galaxy_fl.participants.json_lines import JsonLines
    from galaxy_fl.participants.participant import Outcome
    from galaxy_fl.participants.report import Report
    from galaxy_fl.participants.server import Server

    __version__: str

__all__ = [
    "AggregationError",
    "Averaging",
    "Client",
    "ConfigurationError",
    "Console",
    "ContentAlteredError",
    "ContentError",
    "ContentMissingError",
    "DataError",
    "Distillation",
    "DivergedError",
    "EncodingError",
    "Event",
    "GalaxyError",
    "GivenUpError",
    "Job",
    "JobDocumentError",
    "JsonLines",
    "Listener",
    "Outcome",
    "Report",
    "RoundMovedOnError",
    "Server",
    "Train",
    "TrainingError",
    "UnreachableError",
    "UntrustedModelError",
    "VectorError",
    "__version__",
    "events",
    "submit",
]

_HOMES = {
    "Averaging": "galaxy_fl.jobs.method",
    "Client": "galaxy_fl.participants.client",
    "Console": "galaxy_fl.participants.console",
    "Distillation": "galaxy_fl.jobs.method",
    "Event": "galaxy_fl.participants.events",
    "Job": "galaxy_fl.jobs.job",
    "JsonLines": "galaxy_fl.participants.json_lines",
    "Listener": "galaxy_fl.participants.events",
    "Outcome": "galaxy_fl.participants.participant",
    "Report": "galaxy_fl.participants.report",
    "Server": "galaxy_fl.participants.server",
    "Train": "galaxy_fl.jobs.train",
    "events": "galaxy_fl.participants",
    "submit": "galaxy_fl.modes.submit",
}

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _lazily(__name__, _HOMES)
