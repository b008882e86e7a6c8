"""What a job document says of a model's state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from galaxy_fl.jobs.ending import Ending
from galaxy_fl.jobs.local_tensors import LocalTensor
from galaxy_fl.jobs.parts import Base, PartTensor
from galaxy_fl.vectors import Layout

__all__ = ["ModelDescription"]


@dataclass(frozen=True)
class ModelDescription:
    """A model as a job begins with it, apart from its vector.

    Attributes:
        layout: Layout of its vectors, padded.
        local: Tensors that no vector has, in the order of the state_dict.
        frozen: Tensors that nobody trains, in the same order.
        personal: Tensors that each client keeps to itself, in the same order.
        ending: What the model ends in; None where that was not to be told.
        loss: Name of the loss that it is trained by; None where that was not to be told.
        buffers: Names of the buffers that its vectors have.
    """

    layout: Layout
    local: tuple[LocalTensor, ...]
    frozen: tuple[PartTensor, ...] = ()
    personal: tuple[PartTensor, ...] = ()
    ending: Ending | None = None
    loss: str | None = None
    buffers: tuple[str, ...] = ()

    @property
    def has_base(self) -> bool:
        """Whether the model has tensors that go into a base."""
        return bool(self.frozen or self.personal)

    def fields(self, base: Base | None = None) -> dict[str, Any]:
        """Return the fields of a job document that follow from the model's state.

        Args:
            base: What was written of it for the tensors that are in no vector, if there are any.
        """
        return {
            "layout": self.layout.to_json(),
            "local": list(self.local),
            "frozen": list(self.frozen),
            "personal": list(self.personal),
            "base": base,
        }
