"""What a client has spent in a job: on the disk before anything that costs can leave, and never taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.files import write_durably
from galaxy_fl.privacy.accountant import Mechanism, epsilon_of
from galaxy_fl.validation import Strict, explain

__all__ = ["Account"]


class _File(Strict):
    """What the file has in it."""

    version: Literal[1] = 1
    trainings: int = Field(default=0, ge=0)
    spent: list[Mechanism] = Field(default_factory=list)


class Account:
    """A client's account in a job.

    Each training is put on it before it begins, those too that a crash cuts short or that come too late: nobody can
    tell afterwards what of them has been seen. Whoever removes the file forgets what was spent; what others have seen
    remains seen.

    Args:
        path: The file; it is made by the first training.

    Raises:
        ConfigurationError: it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _File()
        self.read()

    def read(self) -> None:
        """Take in what another program has put on it since; one that is gone meanwhile is forgotten by nobody here.

        Raises:
            ConfigurationError: it is damaged.
        """
        try:
            self._file = _File.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return
        except ValidationError as error:
            raise ConfigurationError(
                f"{self._path}, the account of what this client has spent of its privacy in the job, is damaged "
                f"({explain(error):.200}): bring it back from a copy; without it nobody knows how much is left"
            ) from error

    @property
    def trainings(self) -> int:
        """How many trainings are on it."""
        return self._file.trainings

    def epsilon(self, delta: float, further: Mechanism | None = None) -> float:
        """Return the epsilon of all that is on it, and of a further training."""
        return epsilon_of([*self._file.spent, *([] if further is None else [further])], delta)

    def charge(self, training: Mechanism) -> None:
        """Put a training on it, durably.

        Raises:
            OSError: it can't be written; then nothing may be trained.
        """
        spent = list(self._file.spent)
        for index, one in enumerate(spent):
            if (one.noise_multiplier, one.sample_rate) == (training.noise_multiplier, training.sample_rate):
                spent[index] = one.model_copy(update={"steps": one.steps + training.steps})
                break
        else:
            spent.append(training)
        file = _File(trainings=self._file.trainings + 1, spent=spent)
        write_durably(self._path, file.model_dump_json())
        self._file = file
