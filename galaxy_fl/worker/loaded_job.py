"""A job in the process that trains: what all of its clients' sessions there have in common, made once."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Size, Tensor, nn

from galaxy_fl.data.shards import NamedData
from galaxy_fl.exceptions import JobDocumentError, TrainingError
from galaxy_fl.jobs.document import BuiltinModel, JobDocument
from galaxy_fl.jobs.likeness import same_bits
from galaxy_fl.training.models import build_model
from galaxy_fl.training.private_models import check_private_model
from galaxy_fl.vectors.fixed_point import decode, read_vector

__all__ = ["LoadedJob"]

Form = tuple[str, Size, torch.dtype, Size, torch.dtype]
"""A device, and the shapes and types of a sample and its target."""


class LoadedJob:
    """A job's document, model and data sets.

    Args:
        document: The job's.
        source: The text of the file that its model brings along.

    Attributes:
        data: The data sets that clients name.
        rehearsed: What was tried here: sizes of batches, each with whether it is merged, for each form of data.
    """

    def __init__(self, document: JobDocument, source: str | None = None) -> None:
        self.document = document
        self.layout = document.tensors
        self.data = NamedData()
        self.rehearsed: dict[Form, set[tuple[int, bool]]] = {}
        self._source = source
        self._local = {tensor.name: tensor.tensor() for tensor in document.local}
        self._constants = [tensor.name for tensor in document.local if tensor.constant]
        self._keeps = isinstance(document.model, BuiltinModel)
        """Whether a model may be used again: those that come with Galaxy remember nothing but their state_dict. What
        others remember would not outlive a restart of the client, which must not change the job's result."""
        self._kept: nn.Module | None = None
        self._untrained: nn.Module | None = None

    # Models

    def model(self) -> nn.Module:
        """Return a model whose weights are for the caller to load, and which is the caller's until the next call."""
        if not self._keeps:
            return self.build()
        if self._kept is None:
            self._kept = self._untrained or self.build()
        self._untrained = None
        return self._kept

    def untrained(self) -> nn.Module:
        """Return a model with the weights that its class begins with, which are to be left as they are."""
        if not self._keeps:
            return self.build()
        if self._untrained is None:
            self._untrained = self.build()
        return self._untrained

    def build(self) -> nn.Module:
        """Return a new model with what the document says of it, and weights of its class.

        Raises:
            JobDocumentError: the document does not describe its model.
            TrainingError: running the model's source fails.
        """
        model = build_model(self.document.model, self.document.train.seed, self._source)
        self._check_state(model)
        model.load_state_dict(self._local, strict=False)
        frozen = set(self.document.frozen)
        for name, parameter in model.named_parameters(remove_duplicate=False):
            if name not in self._local:
                parameter.requires_grad_(name not in frozen)
        return model

    def _check_state(self, model: nn.Module) -> None:
        """Make sure that the document's layout and local tensors are those of its model."""
        given: dict[str, tuple[tuple[int, ...], str]] = {
            tensor.name: (tensor.shape, "floats") for tensor in self.layout.tensors
        }
        given |= {tensor.name: (tuple(tensor.shape), tensor.type) for tensor in self.document.local}
        expected = {}
        for name, value in model.state_dict().items():
            averaged = value.is_floating_point() and name not in self._local
            expected[name] = tuple(value.shape), "floats" if averaged else str(value.dtype).removeprefix("torch.")
        if given != expected:
            wrong = next((pair for pair in given.items() if pair not in expected.items()), f"{len(given)} tensors")
            raise JobDocumentError(
                f"the job's layout is not that of its model: it has {wrong}, the model has {len(expected)} "
                f"tensors: {', '.join(f'{name} {shape}' for name, (shape, _) in list(expected.items())[:20])}"
            )
        parameters = dict(model.named_parameters(remove_duplicate=False))
        if unknown := [name for name in self.document.frozen if name not in parameters]:
            raise JobDocumentError(f"the job freezes {unknown[0]!r}, which is not a parameter of its model")
        if changed := [name for name in self._constants if name in parameters]:
            raise JobDocumentError(f"the job takes the parameter {changed[0]!r} for a constant; only buffers can be")
        check_private_model(model, self.document.privacy, self.layout, self.document.frozen)

    # State

    def state(self, vector: Path, device: str = "cpu") -> dict[str, Tensor]:
        """Return a vector's tensors, for a model on a device, and the local ones as the job began with them."""
        return decode(read_vector(vector, self.layout.parameters), self.layout, device) | self._local

    def kept(self, path: Path | None) -> dict[str, Tensor]:
        """Return a client's own local tensors, as far as they are not those that the job began with.

        Raises:
            TrainingError: the file is not one of this job.
        """
        if path is None:
            return {}
        try:
            kept: dict[str, Tensor] = load_file(path)
        except SafetensorError as error:
            raise TrainingError(f"{path} is damaged ({error}): remove it") from error
        for name, value in kept.items():
            begun = self._local.get(name)
            if begun is None or name in self._constants or (value.dtype, value.shape) != (begun.dtype, begun.shape):
                raise TrainingError(f"{path} has a tensor {name!r} that this job's model does not have: remove it")
        return kept

    def changed(self, model: nn.Module) -> dict[str, Tensor]:
        """Return a model's local tensors, on the CPU, as far as they are not those that the job began with."""
        if not self._local:
            return {}
        state = model.state_dict()
        return {name: state[name].cpu() for name, begun in self._local.items() if not same_bits(state[name], begun)}

    def check_constants(self, model: nn.Module) -> None:
        """Make sure that training has left the constants alone.

        Raises:
            TrainingError: it has not.
        """
        if not self._constants:
            return
        state = model.state_dict()
        for name in self._constants:
            if not same_bits(state[name], self._local[name]):
                raise TrainingError(
                    f"training changed the buffer {name!r}, which is a constant of the job because it began with "
                    "values that no fixed point carries: let it begin with finite ones"
                )
