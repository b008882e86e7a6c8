"""What a job document says of a model's state."""

from __future__ import annotations

from dataclasses import dataclass

from galaxy_fl.jobs.local_tensors import LocalTensor
from galaxy_fl.vectors import Layout

__all__ = ["ModelDescription"]


@dataclass(frozen=True)
class ModelDescription:
    """A model as a job begins with it, apart from its vector.

    Attributes:
        layout: Of its vectors, padded.
        local: The tensors that no vector has, in the order of the state_dict.
        frozen: The names of the parameters that are not trained.
    """

    layout: Layout
    local: tuple[LocalTensor, ...]
    frozen: tuple[str, ...]
