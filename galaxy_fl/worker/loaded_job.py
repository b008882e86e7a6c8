"""A job in the process that trains: what all of its clients' sessions there have in common, made once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset

from galaxy_fl.data import structure
from galaxy_fl.data.batches import Collated
from galaxy_fl.data.shards import NamedData
from galaxy_fl.exceptions import DataError, JobDocumentError, TrainingError
from galaxy_fl.jobs.base import read_base
from galaxy_fl.jobs.document import BuiltinModel, JobDocument
from galaxy_fl.jobs.first_model import read_weights
from galaxy_fl.jobs.likeness import same_bits
from galaxy_fl.training.frozen_weights import from_elsewhere
from galaxy_fl.training.models import build_model
from galaxy_fl.training.own_methods import collate_of, with_loss
from galaxy_fl.training.private_models import check_private_model
from galaxy_fl.training.source_model import raised
from galaxy_fl.vectors.fixed_point import decode
from galaxy_fl.worker.own_tensors import OwnTensors

__all__ = ["LoadedJob"]

Form = tuple[str, str]
"""A device, and the structure of a sample with the shapes and types of its tensors."""


NORMS = nn.modules.batchnorm._NormBase
"""Layers of batch and instance normalization."""


class LoadedJob:
    """A job's document, model and data sets.

    Args:
        document: The job's.
        source: The text of the file that its model brings along.
        base: The file of its frozen and personal tensors.

    Attributes:
        data: The data sets that clients name.
        own: What a client has of its own in the job.
        rehearsed: What was tried here: sizes of batches, each with whether it is merged, for each form of data.

    Raises:
        JobDocumentError: the base is missing, or not the one that the document describes.
    """

    def __init__(self, document: JobDocument, source: str | None = None, base: Path | None = None) -> None:
        self.document = document
        self.layout = document.tensors
        self.data = NamedData()
        self.rehearsed: dict[Form, set[tuple[int, bool]]] = {}
        self.own = OwnTensors(document)
        self._source = source
        if (document.base is None) != (base is None):
            raise JobDocumentError("a job's frozen and personal tensors, and the base that has them, belong together")
        mapped = {} if base is None else read_base(base, [*document.frozen, *document.personal])
        self._frozen = {name: mapped[tensor.name] for tensor in document.frozen for name in tensor.names}
        """Mapped, and shared by all models and processes."""
        self._personal = {tensor.name: mapped[tensor.name] for tensor in document.personal}
        """What they begin with."""
        self._local = {tensor.name: tensor.tensor() for tensor in document.local}
        self._constants = [tensor.name for tensor in document.local if tensor.constant]
        self._keeps = isinstance(document.model, BuiltinModel)
        """Whether a model may be used again: those that come with Galaxy remember nothing but their state_dict. What
        others remember would not outlive a restart of the client, which must not change the job's result."""
        self._kept: nn.Module | None = None
        self._untrained: nn.Module | None = None
        self._kind: type[nn.Module] | None = None

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

    def spare(self) -> nn.Module:
        """Return a new model to try something on, with weights as of `untrained`."""
        # Its weights are not drawn a second time, unless it had a copy of what all models share.
        return self.build() if self._untrained is None or self._frozen else copy.deepcopy(self._untrained)

    def build(self) -> nn.Module:
        """Return a new model with what the document says of it, and weights of its class.

        Raises:
            JobDocumentError: the document does not describe its model.
            TrainingError: running the model's source fails.
        """
        with from_elsewhere(bool(self._frozen)):
            model = build_model(self.document.model, self.document.train.seed, self._source)
        with_loss(self.document.train, model, named=True)
        self._kind = type(model)
        self._check_state(model)
        model.load_state_dict(self._local | self._personal, strict=False)
        for name, parameter in model.named_parameters(remove_duplicate=False):
            if name not in self._local and parameter.is_floating_point():
                parameter.requires_grad_(name not in self._frozen)
        parameters, buffers = dict(model.named_parameters(remove_duplicate=False)), _buffers(model)
        for name, value in self._frozen.items():
            if name in parameters:
                parameters[name].data = value  # neither copied nor untied
            else:
                buffers[name].copy_(value)  # so that a change is seen, and is this model's alone
        _hold_statistics(model, self._frozen)
        check_private_model(model, self.document.privacy, self.layout)  # as it will be trained
        return model

    def _check_state(self, model: nn.Module) -> None:
        """Make sure that the document's layout and local tensors are those of its model."""
        given: dict[str, tuple[tuple[int, ...], str]] = {
            tensor.name: (tensor.shape, "floats") for tensor in self.layout.tensors
        }
        given |= {tensor.name: (tuple(tensor.shape), tensor.type) for tensor in self.document.local}
        given |= {
            name: (tuple(tensor.shape), tensor.type)
            for tensor in (*self.document.frozen, *self.document.personal)
            for name in tensor.names
        }
        apart = self._local.keys() | self._frozen.keys() | self._personal.keys()
        expected = {}
        for name, value in model.state_dict().items():
            averaged = value.is_floating_point() and name not in apart
            expected[name] = tuple(value.shape), "floats" if averaged else str(value.dtype).removeprefix("torch.")
        if given != expected:
            wrong = next((pair for pair in given.items() if pair not in expected.items()), f"{len(given)} tensors")
            raise JobDocumentError(
                f"the job's layout is not that of its model: it has {wrong}, the model has {len(expected)} "
                f"tensors: {', '.join(f'{name} {shape}' for name, (shape, _) in list(expected.items())[:20])}"
            )
        parameters = dict(model.named_parameters(remove_duplicate=False))
        if changed := [name for name in self._constants if name in parameters]:
            raise JobDocumentError(f"the job takes the parameter {changed[0]!r} for a constant; only buffers can be")

    # Batches

    @cached_property
    def collate(self) -> Callable[[list[Any]], Any] | None:
        """The function of the model's class that makes a batch of samples; None where they are stacked.

        Raises:
            TrainingError: it needs an instance of the class.
        """
        if self._keeps:
            return None
        collate = collate_of(self._kind or type(self.build()))
        if collate is None:
            return None

        def collated(samples: list[Any]) -> Any:
            try:
                batch = collate(samples)
                structure.flatten(batch)
            except DataError as error:
                raise DataError(f"of what the model's collate returned, {error}") from error
            except (Exception, SystemExit) as error:
                raise TrainingError(f"the model's collate {raised(error)}") from error
            return batch

        return collated

    def collated(self, dataset: Dataset[Any]) -> Dataset[Any]:
        """Return a data set of whose samples the model's class makes batches, if it has a function for it."""
        return dataset if self.collate is None else Collated(dataset, self.collate)

    # State

    def state(self, vector: Path, device: str = "cpu") -> dict[str, Tensor]:
        """Return a vector's tensors, for a model on a device, and with them all that the job began with but what is
        frozen, which every model has."""
        vector_state = decode(read_weights(self.document, vector), self.layout, device)
        return vector_state | self._local | self._personal

    def check_constants(self, model: nn.Module) -> None:
        """Make sure that training has left the constants and the frozen buffers alone.

        Raises:
            TrainingError: it has not.
        """
        for name, value in _buffers(model).items():
            if name in self._frozen and not same_bits(value, self._frozen[name]):
                raise TrainingError(
                    f"training changed the buffer {name!r}, which is frozen: have it be shared or personal, "
                    "or have the model not change it"
                )
        if not self._constants:
            return
        state = model.state_dict()
        for name in self._constants:
            if not same_bits(state[name], self._local[name]):
                raise TrainingError(
                    f"training changed the buffer {name!r}, which is a constant of the job because it began with "
                    "values that no fixed point carries: let it begin with finite ones"
                )


def _buffers(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_buffers(remove_duplicate=False))


def _stay(layer: nn.Module, mode: bool = True) -> nn.Module:
    """Take the place of a layer's `train`."""
    return layer


def _hold_statistics(model: nn.Module, frozen: Collection[str]) -> None:
    """Have layers whose running statistics are frozen normalize by them in training, too, and leave them alone."""

    for path, module in model.named_modules():
        if isinstance(module, NORMS) and f"{path}.running_mean".lstrip(".") in frozen:
            module.eval()
            module.__dict__["train"] = partial(_stay, module)
