"""The tensors that are a client's own: personal ones, and integers that training changes. They are in one file."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from galaxy_fl.exceptions import DivergedError
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.jobs.final_model import check_own
from galaxy_fl.jobs.likeness import same_bits

__all__ = ["OwnTensors"]


class OwnTensors:
    """What a client of a job has of its own, read and checked.

    Args:
        document: The job's.
    """

    def __init__(self, document: JobDocument) -> None:
        self._document = document
        self._begun = {tensor.name: tensor.tensor() for tensor in document.local if not tensor.constant}
        self._personal = {tensor.name for tensor in document.personal}

    def read(self, path: Path | None) -> dict[str, Tensor]:
        """Return those that are not as the job began with them.

        Raises:
            TrainingError: the file is not one of this job's; names the tensor.
        """
        if path is None:
            return {}
        check_own(self._document, path)
        found: dict[str, Tensor] = load_file(path)
        return found

    def personal(self, path: Path | None) -> dict[str, Tensor]:
        """Return the personal ones of those."""
        return {name: value for name, value in self.read(path).items() if name in self._personal}

    def left(self, model: nn.Module) -> dict[str, Tensor]:
        """Return what training has left in a model, on the CPU: personal tensors, and integers that it has changed.

        Raises:
            DivergedError: a personal tensor is not finite.
        """
        if not self._begun and not self._personal:
            return {}
        state = model.state_dict()
        changed = {name for name, begun in self._begun.items() if not same_bits(state[name], begun)}
        own = {name: value.cpu() for name, value in state.items() if name in self._personal or name in changed}
        for name in self._personal:
            if own[name].is_floating_point() and not bool(own[name].isfinite().all()):
                raise DivergedError(
                    f"the personal tensor {name!r} is no longer finite: training has diverged; lower the learning rate"
                )
        return own
