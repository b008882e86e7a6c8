"""The tensors that are a client's own: personal ones, and integers that training changes. They are in one file."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from galaxy_fl.exceptions import DivergedError, TrainingError
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.jobs.likeness import same_bits

__all__ = ["OwnTensors"]


class OwnTensors:
    """What a client of a job has of its own, read and checked.

    Args:
        document: The job's.
    """

    def __init__(self, document: JobDocument) -> None:
        self._begun = {tensor.name: tensor.tensor() for tensor in document.local if not tensor.constant}
        self._personal = {tensor.name: (f"torch.{tensor.type}", tensor.shape) for tensor in document.personal}

    def read(self, path: Path | None) -> dict[str, Tensor]:
        """Return those that are not as the job began with them.

        Raises:
            TrainingError: the file is not one of this job's; names the tensor.
        """
        if path is None:
            return {}
        try:
            found: dict[str, Tensor] = load_file(path)
        except (SafetensorError, OSError) as error:
            raise TrainingError(f"{path} is damaged ({error}): remove it") from error
        expected = self._personal | {name: (str(value.dtype), list(value.shape)) for name, value in self._begun.items()}
        for name, value in found.items():
            if expected.get(name) != (str(value.dtype), list(value.shape)):
                raise TrainingError(f"{path} has a tensor {name!r} that this job's model does not have: remove it")
        if missing := [name for name in self._personal if name not in found]:
            raise TrainingError(
                f"{path} lacks the personal tensor {missing[0]!r}: put back the file that this client has kept, or "
                "remove it, which has the client begin with the job's own values again"
            )
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
