"""Every error that Galaxy raises on purpose, and the exit code with which a command ends on it.

    GalaxyError                     1   anything below
    ├── ConfigurationError          2   a flag, a variable or a setting is wrong
    ├── JobDocumentError            3   a job file or job document is not valid
    ├── VectorError                 4   a vector, layout or opening is malformed
    │   └── EncodingError           5   a value does not fit the fixed-point range, or is NaN
    ├── ContentError                6   content in a store
    │   ├── ContentMissingError     6   nobody has it
    │   └── ContentAlteredError     7   the bytes are not what the id says
    ├── DataError                   8   a data set cannot be used with the job
    ├── TrainingError               9   training failed
    │   └── DivergedError          10   the loss became NaN or infinite
    ├── RoundMovedOnError          11   the round is no longer the one that was named
    ├── AggregationError           12   a rule can't aggregate these updates, weights or parameters
    ├── UntrustedModelError        13   a job's model source may not run here
    ├── PFLException               14   a job was described wrongly (`galaxy_fl.exceptions.fl_expection`)
    ├── UnreachableError           15   a cluster's server does not answer, or not as one does
    └── GivenUpError               16   a job's server has given it up, or all clients that it had

`galaxy_chain.exceptions` continues the tree from 20 on.
"""

from __future__ import annotations

__all__ = [
    "AggregationError",
    "ConfigurationError",
    "ContentAlteredError",
    "ContentError",
    "ContentMissingError",
    "DataError",
    "DivergedError",
    "EncodingError",
    "GalaxyError",
    "GivenUpError",
    "JobDocumentError",
    "RoundMovedOnError",
    "TrainingError",
    "UnreachableError",
    "UntrustedModelError",
    "VectorError",
]


class GalaxyError(Exception):
    """Anything that Galaxy raises on purpose: the message says what was wrong and what to do.

    `temporary` says whether the same may work later, with nobody doing anything about it.
    """

    exit_code = 1
    temporary = False


class ConfigurationError(GalaxyError):
    """A flag, an environment variable or a setting is missing or wrong."""

    exit_code = 2


class JobDocumentError(GalaxyError):
    """A job file or a job document has an unknown key, a wrong type or a value out of range."""

    exit_code = 3


class VectorError(GalaxyError):
    """A vector, a layout or an opening is malformed."""

    exit_code = 4


class EncodingError(VectorError):
    """A value does not fit the fixed-point range of its tensor, or is NaN or infinite."""

    exit_code = 5


class ContentError(GalaxyError):
    """A store could not give or take content."""

    exit_code = 6


class ContentMissingError(ContentError):
    """No store at hand has the content."""


class ContentAlteredError(ContentError):
    """A store gave bytes that are not those of the content id."""

    exit_code = 7


class DataError(GalaxyError):
    """A data set can't be loaded, or does not fit the model."""

    exit_code = 8


class TrainingError(GalaxyError):
    """Local training failed."""

    exit_code = 9


class DivergedError(TrainingError):
    """The loss became NaN or infinite."""

    exit_code = 10


class RoundMovedOnError(GalaxyError):
    """What was to be done belongs to a round that is over, or the time for it has not come."""

    exit_code = 11
    temporary = True


class AggregationError(GalaxyError):
    """The number of updates, a weight or the parameter word is out of the rule's range."""

    exit_code = 12


class UntrustedModelError(GalaxyError):
    """A job brings its model's source, and this operator trusts neither it nor whoever it comes from."""

    exit_code = 13


class UnreachableError(GalaxyError):
    """A cluster's server does not answer for too long, or what answers is not a Galaxy server."""

    exit_code = 15
    temporary = True


class GivenUpError(GalaxyError):
    """The server of a job has given it up, or every client that it had has: there is nobody to wait for."""

    exit_code = 16
